package auth

import (
	"bytes"
	"encoding/base32"
	"errors"
	"fmt"
	"os/user"
	"strings"
)

// Account is what the bastion knows of a user. The zero Account is nobody's: no password and no code serves it.
type Account struct {
	Name   string
	Known  bool // it is in our file, or in the operating system's
	Locked bool // nobody is to be let in under this name, by whatever method

	// Groups are those of our file, if it says any, else those of the operating system.
	Groups []string

	hash      string // of the password; empty for none
	secret    string // of one-time codes, in base32; empty for none
	ownGroups bool   // the file says which groups
}

// HasPassword reports whether a password could serve.
func (a Account) HasPassword() bool { return a.hash != "" }

// HasCode reports whether a one-time code could serve.
func (a Account) HasCode() bool { return a.secret != "" }

// OwnGroups reports whether our file says which groups, and be it none.
func (a Account) OwnGroups() bool { return a.ownGroups }

// passwordHash is what a password is to be compared with: one that none matches, if none may serve.
func (a Account) passwordHash() string {
	if a.Locked || a.hash == "" {
		return noHash
	}
	return a.hash
}

// codeSecret is what a one-time code is to be compared with; empty if none may serve.
func (a Account) codeSecret() string {
	if a.Locked {
		return ""
	}
	return a.secret
}

// Accounts looks users up.
type Accounts struct {
	File string // as SetPassword and its kin write it; if empty, only the operating system is asked
}

// Account returns what is known of a user. That nothing is known is no error; a file that can't be trusted,
// or with an error in it, is one, and then nobody is to be let in.
func (a Accounts) Account(name string) (Account, error) {
	account := Account{Name: name}
	if ValidUser(name) != nil {
		return account, nil
	}
	if a.File != "" {
		accounts, err := readAccounts(a.File)
		if err != nil {
			return Account{Name: name}, err
		}
		if found, ok := accounts[name]; ok {
			account = found
		}
	}
	if account.ownGroups {
		return account, nil
	}
	groups, known, err := systemGroups(name)
	if err != nil {
		return Account{Name: name}, err
	}
	account.Groups, account.Known = groups, account.Known || known
	return account, nil
}

// systemGroups returns the names of the groups that the operating system has a user in.
func systemGroups(name string) (groups []string, known bool, err error) {
	u, err := user.Lookup(name)
	var unknown user.UnknownUserError
	switch {
	case errors.As(err, &unknown):
		return nil, false, nil
	case err != nil:
		return nil, false, fmt.Errorf("look user %q up: %w", name, err)
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil, false, fmt.Errorf("look the groups of user %q up: %w", name, err)
	}
	for _, id := range ids {
		g, err := user.LookupGroupId(id)
		var unknown user.UnknownGroupIdError
		if errors.As(err, &unknown) {
			continue // a group without a name is one that no rule can mean
		} else if err != nil {
			return nil, false, fmt.Errorf("look group %s up: %w", id, err)
		}
		groups = append(groups, g.Name)
	}
	return groups, true, nil
}

// readAccounts returns the accounts of a file by name. A file with an error in it serves nobody.
func readAccounts(path string) (map[string]Account, error) {
	data, err := readTrusted(path, 0o077)
	if err != nil {
		return nil, fmt.Errorf("read password file: %w", err)
	}
	list, err := parseAccounts(path, data)
	if err != nil {
		return nil, err
	}
	accounts := make(map[string]Account, len(list))
	for _, a := range list {
		accounts[a.Name] = a
	}
	return accounts, nil
}

// parseAccounts reads lines name:hash[:totp=secret][:groups=a,b]. Empty lines and those that begin with # are comments.
func parseAccounts(path string, data []byte) ([]Account, error) {
	var accounts []Account
	seen := make(map[string]bool)
	n := 0
	for text := range bytes.Lines(data) {
		n++
		line := strings.TrimSpace(string(text))
		if line == "" || line[0] == '#' {
			continue
		}
		a, err := parseAccount(line)
		if err == nil && seen[a.Name] {
			err = fmt.Errorf("user %q stands there twice", a.Name)
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		seen[a.Name] = true
		accounts = append(accounts, a)
	}
	return accounts, nil
}

const (
	locked     = "!" // before a hash, as in shadow(5)
	noPassword = "*" // instead of one
)

// parseAccount is the inverse of [Account.line].
func parseAccount(line string) (Account, error) {
	fields := strings.Split(line, ":")
	a := Account{Name: fields[0], Known: true}
	if err := ValidUser(a.Name); err != nil {
		return Account{}, err
	}
	if len(fields) < 2 {
		fields = append(fields, "")
	}
	a.hash, a.Locked = strings.CutPrefix(fields[1], locked)
	if a.hash == noPassword {
		a.hash = ""
	} else if err := validHash(a.hash); err != nil {
		return Account{}, err
	}
	for _, field := range fields[2:] {
		key, value, _ := strings.Cut(field, "=")
		var err error
		switch {
		case key == "totp" && a.secret == "":
			a.secret, err = value, validSecret(value)
		case key == "groups" && !a.ownGroups:
			a.ownGroups = true
			a.Groups, err = ParseGroups(value)
		default:
			err = fmt.Errorf("field %.64q is not known, or stands there twice", key)
		}
		if err != nil {
			return Account{}, err
		}
	}
	return a, nil
}

// line is the account as a line of the file.
func (a Account) line() string {
	var b strings.Builder
	b.WriteString(a.Name + ":")
	if a.Locked {
		b.WriteString(locked)
	}
	if a.hash == "" {
		b.WriteString(noPassword)
	} else {
		b.WriteString(a.hash)
	}
	if a.secret != "" {
		b.WriteString(":totp=" + a.secret)
	}
	if a.ownGroups {
		b.WriteString(":groups=" + strings.Join(a.Groups, ","))
	}
	b.WriteByte('\n')
	return b.String()
}

// maxGroups bounds the groups of one account.
const maxGroups = 64

// ParseGroups reads group names with commas between them. They consist of what user names do; none at all is an
// empty list.
func ParseGroups(list string) ([]string, error) {
	if list == "" {
		return nil, nil
	}
	groups := strings.Split(list, ",")
	if len(groups) > maxGroups {
		return nil, fmt.Errorf("more than %d groups", maxGroups)
	}
	for _, g := range groups {
		if ValidUser(g) != nil {
			return nil, fmt.Errorf("group %.64q: a name has 1 to %d letters, digits and . _ - @ +, and begins with neither . nor -", g, maxUserName)
		}
	}
	return groups, nil
}

// base32Text is how secrets are written (RFC 4648, section 6), without padding.
var base32Text = base32.StdEncoding.WithPadding(base32.NoPadding)

const (
	// minSecret and maxSecret bound the secret of one-time codes, in bytes (RFC 4226, section 4: at least 128 bits; more than the
	// hash's block of 64 bytes adds nothing).
	minSecret, maxSecret = 16, 64

	// newSecret is how long those are that we make, as RFC 4226 recommends.
	newSecret = 20
)

func validSecret(text string) error {
	secret, err := base32Text.DecodeString(text)
	if err != nil || base32Text.EncodeToString(secret) != text || len(secret) < minSecret || len(secret) > maxSecret {
		return fmt.Errorf("totp= wants %d to %d bytes in base32, without padding: write it with \"culvertd passwd --totp\"", minSecret, maxSecret)
	}
	return nil
}
