package login

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what known_hosts hashes by
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/sshconfig"
)

// maxKnownHosts bounds a known_hosts file that is written anew, in bytes.
const maxKnownHosts = 16 << 20

// hostFile is a known_hosts file whose lines about one host may change.
type hostFile struct {
	path  string
	was   fs.FileInfo
	lines []string   // with their line ends
	keys  []hostLine // those that name the host and nothing else
	many  bool       // another one has the host among others, or in a pattern
}

// hostLine is a line about one host.
type hostLine struct {
	number int // among lines
	key    ssh.PublicKey
	hashed bool
}

// readHostFile reads what a file knows of a host, by the name that it has there. A file that doesn't exist is empty.
func readHostFile(path, name string) (*hostFile, error) {
	f := &hostFile{path: path}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		f.path = real // what the link is to is written anew, and not the link
	}
	var err error
	if f.was, err = os.Stat(f.path); errors.Is(err, fs.ErrNotExist) {
		return f, nil
	} else if err != nil {
		return nil, err
	}
	if !f.was.Mode().IsRegular() || f.was.Size() > maxKnownHosts {
		return nil, fmt.Errorf("%q is no file that can be written anew", path)
	}
	text, err := os.ReadFile(f.path)
	if err != nil {
		return nil, err
	}
	f.lines = slices.Collect(strings.Lines(string(text)))
	for i, line := range f.lines {
		line = strings.TrimSpace(line)
		names, rest, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
		if line == "" || line[0] == '#' || line[0] == '@' { // authorities and what is revoked stay
			continue
		}
		hashed := strings.HasPrefix(names, "|")
		switch {
		case hashed && hashes(names, name), strings.EqualFold(names, name):
			if key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(rest)); err == nil {
				f.keys = append(f.keys, hostLine{i, key, hashed})
			}
		case !hashed && sshconfig.MatchList(strings.ToLower(names), strings.ToLower(name)):
			f.many = true
		}
	}
	return f, nil
}

// hashes reports whether hash, as ssh-keygen -H writes one, is that of a name.
func hashes(hash, name string) bool {
	fields := strings.Split(hash, "|") // "", "1", salt, sum
	if len(fields) != 4 || fields[1] != "1" {
		return false
	}
	salt, err := base64.StdEncoding.DecodeString(fields[2])
	sum, err2 := base64.StdEncoding.DecodeString(fields[3])
	if err != nil || err2 != nil {
		return false
	}
	mac := hmac.New(sha1.New, salt)
	_, _ = mac.Write([]byte(name)) // it never fails
	return hmac.Equal(mac.Sum(nil), sum)
}

// has reports whether the file has a key for the host.
func (f *hostFile) has(key ssh.PublicKey) bool {
	return slices.ContainsFunc(f.keys, func(l hostLine) bool { return bytes.Equal(l.key.Marshal(), key.Marshal()) })
}

// rewrite puts a new file in the place of f: without the lines of some keys, and with more at the end. Whoever reads
// at the time sees the old one or the new one.
func (f *hostFile) rewrite(without []ssh.PublicKey, more []string) (err error) {
	var text strings.Builder
	for i, line := range f.lines {
		gone := slices.ContainsFunc(f.keys, func(l hostLine) bool {
			return l.number == i && slices.ContainsFunc(without, func(k ssh.PublicKey) bool { return bytes.Equal(k.Marshal(), l.key.Marshal()) })
		})
		if !gone {
			text.WriteString(line)
		}
	}
	if s := text.String(); len(more) > 0 && s != "" && !strings.HasSuffix(s, "\n") {
		text.WriteByte('\n') // somebody's editor left the last line open
	}
	text.WriteString(strings.Join(more, ""))

	mode := fs.FileMode(0o600)
	if f.was != nil {
		mode = f.was.Mode().Perm()
	}
	next, err := os.CreateTemp(filepath.Dir(f.path), ".known_hosts-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(next.Name()))
		}
	}()
	_, err = next.WriteString(text.String())
	if err = errors.Join(err, next.Chmod(mode), next.Sync(), next.Close()); err != nil {
		return err
	}
	if now, err := os.Stat(f.path); f.was != nil && (err != nil || !os.SameFile(now, f.was) || now.Size() != f.was.Size() || now.ModTime() != f.was.ModTime()) {
		return fmt.Errorf("%q was changed by somebody else meanwhile", f.path)
	}
	return os.Rename(next.Name(), f.path)
}
