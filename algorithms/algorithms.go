// Package algorithms knows the names of SSH's algorithms, and reads lists of them as ssh_config(5) and sshd_config(5) have
// them. It does not implement any.
package algorithms

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Kind is the names of one kind, in OpenSSH's order of preference.
type Kind struct {
	Standard  []string // the default
	OnRequest []string // weak ones, which serve if a line names them
	Lacking   []string // OpenSSH has them, and we don't
	Patterns  bool     // * and ? may stand in a list of names, as OpenSSH has it for keys
}

// The kinds, as a server has them. Who has other defaults takes a copy.

var (
	Ciphers = Kind{
		Standard: []string{
			"chacha20-poly1305@openssh.com", "aes128-gcm@openssh.com", "aes256-gcm@openssh.com",
			"aes128-ctr", "aes192-ctr", "aes256-ctr",
		},
		OnRequest: []string{"3des-cbc", "aes128-cbc"},
		Lacking:   []string{"aes192-cbc", "aes256-cbc"},
	}
	MACs = Kind{
		Standard: []string{
			"hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512",
		},
		OnRequest: []string{"hmac-sha1", "hmac-sha1-96"},
		Lacking: []string{
			"umac-64-etm@openssh.com", "umac-128-etm@openssh.com", "hmac-sha1-etm@openssh.com",
			"umac-64@openssh.com", "umac-128@openssh.com", "hmac-sha1-96-etm@openssh.com",
			"hmac-md5", "hmac-md5-96", "hmac-md5-etm@openssh.com", "hmac-md5-96-etm@openssh.com",
		},
	}
	KeyExchanges = Kind{
		Standard: []string{
			"mlkem768x25519-sha256", "curve25519-sha256", "curve25519-sha256@libssh.org",
			"ecdh-sha2-nistp256", "ecdh-sha2-nistp384", "ecdh-sha2-nistp521",
			"diffie-hellman-group-exchange-sha256", "diffie-hellman-group16-sha512", "diffie-hellman-group14-sha256",
		},
		OnRequest: []string{
			"diffie-hellman-group14-sha1", "diffie-hellman-group-exchange-sha1", "diffie-hellman-group1-sha1",
		},
		Lacking: []string{
			"sntrup761x25519-sha512", "sntrup761x25519-sha512@openssh.com", "mlkem768nistp256-sha256",
			"diffie-hellman-group18-sha512",
		},
	}
	HostKeys = Kind{
		Standard: []string{
			"ssh-ed25519-cert-v01@openssh.com",
			"ecdsa-sha2-nistp256-cert-v01@openssh.com", "ecdsa-sha2-nistp384-cert-v01@openssh.com", "ecdsa-sha2-nistp521-cert-v01@openssh.com",
			"rsa-sha2-512-cert-v01@openssh.com", "rsa-sha2-256-cert-v01@openssh.com",
			"ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "rsa-sha2-512", "rsa-sha2-256",
		},
		OnRequest: []string{"ssh-rsa-cert-v01@openssh.com", "ssh-rsa"},
		Lacking: append([]string{
			"sk-ssh-ed25519-cert-v01@openssh.com", "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
			"sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
		}, lackingKeys...),
		Patterns: true,
	}
	UserKeys = Kind{
		Standard: []string{
			"ssh-ed25519-cert-v01@openssh.com",
			"ecdsa-sha2-nistp256-cert-v01@openssh.com", "ecdsa-sha2-nistp384-cert-v01@openssh.com", "ecdsa-sha2-nistp521-cert-v01@openssh.com",
			"sk-ssh-ed25519-cert-v01@openssh.com", "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
			"rsa-sha2-512-cert-v01@openssh.com", "rsa-sha2-256-cert-v01@openssh.com",
			"ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
			"sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com", "rsa-sha2-512", "rsa-sha2-256",
		},
		Lacking:  append([]string{"ssh-rsa-cert-v01@openssh.com", "ssh-rsa"}, lackingKeys...), // they sign with SHA-1
		Patterns: true,
	}
	Authorities = Kind{
		Standard: []string{
			"ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
			"sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com", "rsa-sha2-512", "rsa-sha2-256",
		},
		Lacking:  []string{"ssh-rsa", "webauthn-sk-ecdsa-sha2-nistp256@openssh.com", "ssh-mldsa44-ed25519@openssh.com", "ssh-dss"},
		Patterns: true,
	}

	lackingKeys = []string{
		"webauthn-sk-ecdsa-sha2-nistp256-cert-v01@openssh.com", "webauthn-sk-ecdsa-sha2-nistp256@openssh.com",
		"ssh-mldsa44-ed25519-cert-v01@openssh.com", "ssh-mldsa44-ed25519@openssh.com",
		"ssh-dss-cert-v01@openssh.com", "ssh-dss",
	}
)

// Parse reads a list as OpenSSH does: names with commas between, a + in front adds to the default, a - takes what matches away from it, a ^ prefers.
// What it names and we lack is left out, which Remarks says.
func (k *Kind) Parse(list string) ([]string, error) {
	sign, list := CutSign(list)
	if sign == '-' {
		return k.without(list)
	}
	var named []string
	for name := range strings.SplitSeq(list, ",") {
		found, err := k.find(name)
		if err != nil {
			return nil, err
		}
		named = append(named, found...)
	}
	switch sign {
	case '+':
		named = append(slices.Clip(k.Standard), named...)
	case '^':
		named = append(named, k.Standard...)
	}
	var served []string
	for _, name := range named {
		if !slices.Contains(k.Lacking, name) && !slices.Contains(served, name) {
			served = append(served, name)
		}
	}
	if len(served) == 0 {
		return nil, fmt.Errorf("nothing of %q is served: there are %s", list, strings.Join(k.Standard, ","))
	}
	return served, nil
}

// without takes what matches a list of patterns away from the default.
func (k *Kind) without(list string) ([]string, error) {
	var left []string
	for _, name := range k.Standard {
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
func (k *Kind) find(name string) ([]string, error) {
	if slices.Contains(k.All(), name) {
		return []string{name}, nil
	}
	if k.Patterns && strings.ContainsAny(name, "*?") && name[0] != '!' {
		var found []string
		for _, known := range k.All() {
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

// All returns every name that OpenSSH has, or we.
func (k *Kind) All() []string { return slices.Concat(k.Standard, k.OnRequest, k.Lacking) }

// Remarks says what a valid list leaves out, and what it shouldn't take in.
func (k *Kind) Remarks(list string) []string {
	sign, list := CutSign(list)
	var texts []string
	for name := range strings.SplitSeq(list, ",") {
		switch {
		case sign == '-':
			if !slices.ContainsFunc(k.All(), func(known string) bool { return matchesList(strings.TrimPrefix(name, "!"), known) }) {
				texts = append(texts, fmt.Sprintf("%q takes nothing away", name))
			}
		case slices.Contains(k.Lacking, name):
			texts = append(texts, fmt.Sprintf("%q is left out: it is not served here", name))
		case slices.Contains(k.OnRequest, name):
			texts = append(texts, fmt.Sprintf("%q is weak", name))
		}
	}
	return texts
}

// CutSign takes the sign off a list.
func CutSign(list string) (sign byte, rest string) {
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
