package config

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// algorithms are the names of one kind, in OpenSSH's order of preference.
type algorithms struct {
	standard  []string // the default
	onRequest []string // weak ones, which serve if a line names them
	lacking   []string // OpenSSH has them, and x/crypto/ssh hasn't
	patterns  bool     // * and ? may stand in a list of names, as sshd has it for keys
}

var (
	ciphers = algorithms{
		standard: []string{
			"chacha20-poly1305@openssh.com", "aes128-gcm@openssh.com", "aes256-gcm@openssh.com",
			"aes128-ctr", "aes192-ctr", "aes256-ctr",
		},
		onRequest: []string{"3des-cbc", "aes128-cbc"},
		lacking:   []string{"aes192-cbc", "aes256-cbc"},
	}
	macs = algorithms{
		standard: []string{
			"hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512",
		},
		onRequest: []string{"hmac-sha1", "hmac-sha1-96"},
		lacking: []string{
			"umac-64-etm@openssh.com", "umac-128-etm@openssh.com", "hmac-sha1-etm@openssh.com",
			"umac-64@openssh.com", "umac-128@openssh.com", "hmac-sha1-96-etm@openssh.com",
			"hmac-md5", "hmac-md5-96", "hmac-md5-etm@openssh.com", "hmac-md5-96-etm@openssh.com",
		},
	}
	keyExchanges = algorithms{
		standard: []string{
			"mlkem768x25519-sha256", "curve25519-sha256", "curve25519-sha256@libssh.org",
			"ecdh-sha2-nistp256", "ecdh-sha2-nistp384", "ecdh-sha2-nistp521",
			"diffie-hellman-group-exchange-sha256", "diffie-hellman-group16-sha512", "diffie-hellman-group14-sha256",
		},
		onRequest: []string{
			"diffie-hellman-group14-sha1", "diffie-hellman-group-exchange-sha1", "diffie-hellman-group1-sha1",
		},
		lacking: []string{
			"sntrup761x25519-sha512", "sntrup761x25519-sha512@openssh.com", "mlkem768nistp256-sha256",
			"diffie-hellman-group18-sha512",
		},
	}
	hostKeyAlgorithms = algorithms{
		standard: []string{
			"ssh-ed25519-cert-v01@openssh.com",
			"ecdsa-sha2-nistp256-cert-v01@openssh.com", "ecdsa-sha2-nistp384-cert-v01@openssh.com", "ecdsa-sha2-nistp521-cert-v01@openssh.com",
			"rsa-sha2-512-cert-v01@openssh.com", "rsa-sha2-256-cert-v01@openssh.com",
			"ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "rsa-sha2-512", "rsa-sha2-256",
		},
		onRequest: []string{"ssh-rsa-cert-v01@openssh.com", "ssh-rsa"},
		lacking: append([]string{
			"sk-ssh-ed25519-cert-v01@openssh.com", "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
			"sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
		}, lackingKeys...),
		patterns: true,
	}
	pubkeyAlgorithms = algorithms{
		standard: []string{
			"ssh-ed25519-cert-v01@openssh.com",
			"ecdsa-sha2-nistp256-cert-v01@openssh.com", "ecdsa-sha2-nistp384-cert-v01@openssh.com", "ecdsa-sha2-nistp521-cert-v01@openssh.com",
			"sk-ssh-ed25519-cert-v01@openssh.com", "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
			"rsa-sha2-512-cert-v01@openssh.com", "rsa-sha2-256-cert-v01@openssh.com",
			"ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
			"sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com", "rsa-sha2-512", "rsa-sha2-256",
		},
		lacking:  append([]string{"ssh-rsa-cert-v01@openssh.com", "ssh-rsa"}, lackingKeys...), // they sign with SHA-1
		patterns: true,
	}
	caAlgorithms = algorithms{
		standard: []string{
			"ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
			"sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com", "rsa-sha2-512", "rsa-sha2-256",
		},
		lacking:  []string{"ssh-rsa", "webauthn-sk-ecdsa-sha2-nistp256@openssh.com", "ssh-mldsa44-ed25519@openssh.com", "ssh-dss"},
		patterns: true,
	}

	lackingKeys = []string{
		"webauthn-sk-ecdsa-sha2-nistp256-cert-v01@openssh.com", "webauthn-sk-ecdsa-sha2-nistp256@openssh.com",
		"ssh-mldsa44-ed25519-cert-v01@openssh.com", "ssh-mldsa44-ed25519@openssh.com",
		"ssh-dss-cert-v01@openssh.com", "ssh-dss",
	}
)

// algorithmKeyword makes the row of a list of algorithms. The default is an empty list: package server chooses among its names by client.
func algorithmKeyword(name string, where where, a *algorithms, field func(*Settings) *[]string) keyword {
	return keyword{
		name: name, where: where,
		wants:    "names of algorithms with commas between; + before the list adds to the default, - takes away from it, ^ prefers",
		standard: []string{strings.Join(a.standard, ",")},
		value: one(field, form[[]string]{
			parse: func(list string) ([]string, error) {
				names, err := a.parse(list)
				if slices.Equal(names, a.standard) {
					return nil, err
				}
				return names, err
			},
			show: func(names []string) string {
				if len(names) == 0 {
					names = a.standard
				}
				return strings.Join(names, ",")
			},
		}),
		remarks: func(words []string) []string { return a.remarks(words[0]) },
	}
}

// parse reads a list as sshd does. What it names and x/crypto/ssh lacks is left out, which remarks says.
func (a *algorithms) parse(list string) ([]string, error) {
	sign, list := cutSign(list)
	if sign == '-' {
		return a.without(list)
	}
	var named []string
	for name := range strings.SplitSeq(list, ",") {
		found, err := a.find(name)
		if err != nil {
			return nil, err
		}
		named = append(named, found...)
	}
	switch sign {
	case '+':
		named = append(slices.Clip(a.standard), named...)
	case '^':
		named = append(named, a.standard...)
	}
	var served []string
	for _, name := range named {
		if !slices.Contains(a.lacking, name) && !slices.Contains(served, name) {
			served = append(served, name)
		}
	}
	if len(served) == 0 {
		return nil, fmt.Errorf("nothing of %q is served: there are %s", list, strings.Join(a.standard, ","))
	}
	return served, nil
}

// without takes what matches a list of patterns away from the default.
func (a *algorithms) without(list string) ([]string, error) {
	var left []string
	for _, name := range a.standard {
		if !matchesList(list, name) {
			left = append(left, name)
		}
	}
	if len(left) == 0 {
		return nil, fmt.Errorf("nothing is left without %q", list)
	}
	return left, nil
}

// find returns what a name or a pattern in a list stands for.
func (a *algorithms) find(name string) ([]string, error) {
	if slices.Contains(a.all(), name) {
		return []string{name}, nil
	}
	if a.patterns && strings.ContainsAny(name, "*?") && name[0] != '!' {
		var found []string
		for _, known := range a.all() {
			if matchesList(name, known) {
				found = append(found, known)
			}
		}
		if len(found) > 0 {
			return found, nil
		}
	}
	if name == "" {
		return nil, errors.New("the list has an empty name")
	}
	return nil, fmt.Errorf("unknown algorithm %q", name)
}

func (a *algorithms) all() []string { return slices.Concat(a.standard, a.onRequest, a.lacking) }

// remarks says what a valid list leaves out, and what it shouldn't take in.
func (a *algorithms) remarks(list string) []string {
	sign, list := cutSign(list)
	var texts []string
	for name := range strings.SplitSeq(list, ",") {
		switch {
		case sign == '-':
			if !slices.ContainsFunc(a.all(), func(known string) bool { return matchesList(strings.TrimPrefix(name, "!"), known) }) {
				texts = append(texts, fmt.Sprintf("%q takes nothing away", name))
			}
		case slices.Contains(a.lacking, name):
			texts = append(texts, fmt.Sprintf("%q is left out: it is not served here", name))
		case slices.Contains(a.onRequest, name):
			texts = append(texts, fmt.Sprintf("%q is weak", name))
		}
	}
	return texts
}

func cutSign(list string) (sign byte, rest string) {
	if list != "" && strings.IndexByte("+-^", list[0]) >= 0 {
		return list[0], list[1:]
	}
	return 0, list
}

// matchesList reports whether name matches a list of patterns, in which a pattern after ! that matches decides against it.
func matchesList(list, name string) bool {
	matched := false
	for pattern := range strings.SplitSeq(list, ",") {
		pattern, negated := strings.CutPrefix(pattern, "!")
		// Of what path.Match knows, only * and ? mean something here.
		pattern = strings.NewReplacer(`\`, `\\`, `[`, `\[`).Replace(pattern)
		if hit, err := path.Match(pattern, name); err == nil && hit {
			if negated {
				return false
			}
			matched = true
		}
	}
	return matched
}
