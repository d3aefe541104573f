package login

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"github.com/culvert-ssh/culvert/sshconfig"
)

// known is what known_hosts files say about one host, by the patterns of sshd(8): a key that was missed would let another one in as new.
type known struct {
	keys        []knownKey // the host's own
	authorities []knownKey // whose certificates it may show (@cert-authority)
	revoked     []knownKey // that nobody may show, whatever host they are said to be of (@revoked)
}

// knownKey is a key and the line that has it.
type knownKey struct {
	ssh.PublicKey
	at sshconfig.Position
}

// readKnown reads what files say about the host at addr. Where nothing is said of its port, what is said without ports counts: as with ssh(1)
// that of authorities, and of plain keys that in patterns; which host a key belongs to that stands under a name is clear.
func readKnown(files []string, addr string) (*known, error) {
	k := &known{}
	var elsewhere known
	name := xknownhosts.Normalize(addr)
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		err := eachKnown(file, func(marker, names string, key knownKey) {
			switch {
			case marker == "revoked":
				if cert, ok := key.PublicKey.(*ssh.Certificate); ok {
					key.PublicKey = cert.Key
				}
				k.revoked = append(k.revoked, key)
			case marker != "" && nameIn(names, name):
				k.authorities = append(k.authorities, key)
			case marker != "" && nameIn(names, host):
				elsewhere.authorities = append(elsewhere.authorities, key)
			case nameIn(names, name):
				k.keys = append(k.keys, key)
			case strings.ContainsAny(names, "*?") && nameIn(names, host):
				elsewhere.keys = append(elsewhere.keys, key)
			}
		})
		if err != nil {
			return nil, fmt.Errorf("read known_hosts: %w", err)
		}
	}
	if len(k.keys) == 0 {
		k.keys = elsewhere.keys
	}
	if len(k.authorities) == 0 {
		k.authorities = elsewhere.authorities
	}
	return k, nil
}

// eachKnown calls f for the lines of a file. The marker has no @. A line that can't be understood is an error: it might revoke a key.
func eachKnown(path string, f func(marker, names string, key knownKey)) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	at := sshconfig.Position{File: path}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		at.Line++
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		marker, names, key, _, _, err := ssh.ParseKnownHosts(line)
		switch {
		case errors.Is(err, io.EOF): // what it says to a word alone
			err = errors.New("the key is missing")
		case err == nil && marker == "" && line[0] == '@', err == nil && marker != "" && marker != "revoked" && marker != "cert-authority":
			err = fmt.Errorf("there is no marker %q", "@"+marker)
		}
		if err != nil {
			return fmt.Errorf("%s: %w: correct or remove that line", at, err)
		}
		f(marker, strings.Join(names, ","), knownKey{key, at})
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: after line %d: %w", path, at.Line, err)
	}
	return nil
}

// nameIn reports whether the first field of a line of known_hosts means a host by this name.
func nameIn(names, name string) bool {
	if strings.HasPrefix(names, "|") {
		return hashes(names, name)
	}
	return sshconfig.MatchList(strings.ToLower(names), strings.ToLower(name))
}

// has returns the line that has a key.
func has(keys []knownKey, key ssh.PublicKey) (line knownKey, ok bool) {
	for _, k := range keys {
		if bytes.Equal(k.Marshal(), key.Marshal()) {
			return k, true
		}
	}
	return knownKey{}, false
}

// certified returns nil if the host may show cert, which names it.
func (k *known) certified(addr string, remote net.Addr, cert *ssh.Certificate) error {
	checker := ssh.CertChecker{
		IsHostAuthority: func(authority ssh.PublicKey, _ string) bool {
			_, ok := has(k.authorities, authority)
			return ok
		},
		IsRevoked: func(cert *ssh.Certificate) bool {
			_, key := has(k.revoked, cert.Key)
			_, authority := has(k.revoked, cert.SignatureKey)
			return key || authority
		},
	}
	return checker.CheckHostKey(addr, remote, cert)
}
