package login

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"github.com/culvert-ssh/culvert/krl"
	"github.com/culvert-ssh/culvert/sshconfig"
)

// hostKeys answers whether a host key is the bastion's, from known_hosts files as sshd(8) describes
// them, and from the person where they don't know.
type hostKeys struct {
	cfg   *Config
	addr  string // what known_hosts has it under: "host:port"
	known *known
	krls  []*krl.List // RevokedHostKeys

	shown  ssh.PublicKey // what the server has shown, once it is accepted
	follow bool          // it was known, or the person has said that it is right: it may bring others
}

// loadHostKeys reads the files that exist. A file that can't be read or parsed is an error: a
// line in it might revoke the key that we are about to trust.
func loadHostKeys(cfg *Config) (*hostKeys, error) {
	h := &hostKeys{cfg: cfg, addr: net.JoinHostPort(strings.ToLower(cfg.Dialled()), strconv.Itoa(int(cfg.Port)))}
	if cfg.HostKeyAlias != "" {
		h.addr = net.JoinHostPort(strings.ToLower(cfg.HostKeyAlias), "22") // an alias stands without a port
	}
	var files []string
	for _, name := range slices.Concat(cfg.UserKnownHosts, cfg.GlobalKnownHosts) {
		if _, err := os.Stat(name); err == nil {
			files = append(files, name)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read known_hosts: %w", err)
		}
	}
	var err error
	if h.krls, err = loadRevoked(cfg.RevokedHostKeys); err != nil {
		return nil, err
	}
	if h.known, err = readKnown(files, h.addr); err != nil {
		return nil, err
	}
	return h, nil
}

// algorithms are the host key algorithms to offer: the types that are known first, so that a
// server with several keys shows the one we can check, unless the person has said which come first. Certificates are asked for only
// where an authority is known; without one, nobody could check them.
func (h *hostKeys) algorithms() []string {
	algos := slices.Clone(h.cfg.HostKeyAlgorithms)
	if len(h.known.authorities) == 0 {
		plain := slices.DeleteFunc(slices.Clone(algos), func(name string) bool { return strings.Contains(name, "-cert-") })
		if len(plain) > 0 {
			algos = plain
		}
	}
	if !h.cfg.hostKeysInOrder {
		rank := h.ranks()
		slices.SortStableFunc(algos, func(a, b string) int { return rank(a) - rank(b) })
	}
	return algos
}

// ranks orders host key algorithms by how well their keys can be checked here.
func (h *hostKeys) ranks() func(name string) int {
	known := make(map[string]bool)
	for _, k := range h.known.keys {
		known[k.Type()] = true
		if k.Type() == ssh.KeyAlgoRSA { // RFC 8332, section 2: one key format, two algorithms
			known[ssh.KeyAlgoRSASHA512], known[ssh.KeyAlgoRSASHA256] = true, true
		}
	}
	preference := []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521}
	return func(name string) int {
		i := slices.Index(preference, name)
		switch {
		case strings.Contains(name, "-cert-"):
			return -2
		case known[name]:
			return -1
		case i >= 0:
			return i
		}
		return len(preference)
	}
}

// check returns nil if key is the bastion's. It may ask the person, and add the key to the first
// known_hosts file.
func (h *hostKeys) check(ctx context.Context, remote net.Addr, key ssh.PublicKey) error {
	err := h.verify(ctx, remote, key)
	if err != nil {
		return &hostKeyError{err}
	}
	h.shown = key
	return nil
}

func (h *hostKeys) verify(ctx context.Context, remote net.Addr, key ssh.PublicKey) error {
	cert, isCert := key.(*ssh.Certificate)
	if isCert && len(cert.ValidPrincipals) == 0 {
		return fmt.Errorf("the host certificate of %s names no host: ask its administrator for one that does", h.name())
	}
	if err := h.refuse(key); err != nil {
		return err
	}
	if isCert {
		if err := h.known.certified(h.addr, remote, cert); err != nil {
			return fmt.Errorf("the host certificate of %s is not valid: %w", h.name(), err)
		}
		return nil
	}
	if by, revoked := has(h.known.revoked, key); revoked {
		return errors.New(h.revokedText(key, by.at.String()+" revokes"))
	}
	if _, ok := has(h.known.keys, key); ok {
		h.follow = true
		return nil
	}
	if len(h.known.keys) > 0 {
		return errors.New(h.changedText(key, h.known.keys))
	}
	return h.unknown(ctx, remote, key)
}

// refuse is what speaks against a key, or a certificate, whoever knows it.
func (h *hostKeys) refuse(key ssh.PublicKey) error {
	cert, isCert := key.(*ssh.Certificate)
	if isCert && !slices.Contains(h.cfg.CASignatureAlgorithms, cert.Signature.Format) {
		return fmt.Errorf("the host certificate of %s is signed by %s, which CASignatureAlgorithms leaves out: ask its administrator for another", h.name(), sshconfig.Printable(cert.Signature.Format))
	}
	if err := h.cfg.longEnough(key); err != nil {
		return fmt.Errorf("the host key of %s is not accepted: %w", h.name(), err)
	}
	for i, list := range h.krls {
		if reason, revoked := list.Revoked(key); revoked {
			return errors.New(h.revokedText(key, fmt.Sprintf("%s revokes (%s)", h.cfg.RevokedHostKeys[i], reason)))
		}
	}
	return nil
}

func (h *hostKeys) unknown(ctx context.Context, remote net.Addr, key ssh.PublicKey) error {
	fingerprint := ssh.FingerprintSHA256(key)
	switch h.cfg.HostKeyChecking {
	case AcceptNew:
	case AskNew:
		if err := h.question(ctx, remote, key); err != nil {
			return err
		}
		h.follow = true
	default:
		return fmt.Errorf("the host key of %s is not known, and StrictHostKeyChecking is yes: add it to known_hosts if %s %s is right", h.name(), typeName(key), fingerprint)
	}
	if len(h.cfg.UserKnownHosts) == 0 {
		return nil
	}
	file := h.cfg.UserKnownHosts[0]
	if err := addKnownHost(file, h.addr, key, h.cfg.HashKnownHosts); err != nil {
		h.cfg.Logger().Warn("the host key can't be remembered", "err", err)
		return nil
	}
	h.cfg.Tell(fmt.Sprintf("Permanently added %s (%s) to %s.", xknownhosts.Normalize(h.addr), typeName(key), file))
	return nil
}

// withoutQuestion is what to try where the person can't be asked.
func withoutQuestion(err error) string {
	if !errors.Is(err, errNobodyToAsk) {
		return ""
	}
	return ": if it is the right one, connect once on a terminal, or with -o StrictHostKeyChecking=accept-new"
}

// question asks whether to trust an unknown key, until the answer is one.
func (h *hostKeys) question(ctx context.Context, remote net.Addr, key ssh.PublicKey) error {
	fingerprint := ssh.FingerprintSHA256(key)
	ask := fmt.Sprintf("The host key of %s (%s) is not known yet.\n%s key fingerprint: %s\nIs this the right machine? (yes, no, or the fingerprint): ",
		h.name(), remote, typeName(key), fingerprint)
	for range 3 {
		answer, err := h.cfg.ask(ctx, ask, true)
		if err != nil {
			return fmt.Errorf("the host key of %s is not known (%s %s): %w%s", h.name(), typeName(key), fingerprint, err, withoutQuestion(err))
		}
		answer = strings.TrimSpace(answer)
		switch {
		case strings.EqualFold(answer, "yes") || answer == fingerprint:
			return nil
		case strings.EqualFold(answer, "no"):
			return fmt.Errorf("the host key of %s was not accepted", h.name())
		}
		ask = "Please type yes, no, or the fingerprint: "
	}
	return fmt.Errorf("the host key of %s was not accepted", h.name())
}

// name is the host as the person knows it, with its port where that isn't 22.
func (h *hostKeys) name() string {
	return xknownhosts.Normalize(net.JoinHostPort(h.cfg.Dialled(), strconv.Itoa(int(h.cfg.Port))))
}

// hostKeyError is why a host key isn't taken for the server's. It may have several lines.
type hostKeyError struct{ err error }

func (e *hostKeyError) Error() string { return e.err.Error() }
func (e *hostKeyError) Unwrap() error { return e.err }

func (h *hostKeys) changedText(key ssh.PublicKey, known []knownKey) string {
	var b strings.Builder
	b.WriteString(bar + "@      WARNING: THE HOST KEY OF THIS SERVER HAS CHANGED      @\n" + bar)
	fmt.Fprintf(&b, "%s shows a host key that is not the one you know.\n", h.name())
	b.WriteString("Somebody may be sitting between you and the server and reading along, or the server was\n" +
		"set up anew. Don't go on before its administrator has told you which.\n")
	fmt.Fprintf(&b, "It shows:  %s %s\n", typeName(key), ssh.FingerprintSHA256(key))
	for _, k := range known {
		fmt.Fprintf(&b, "You know:  %s %s (%s)\n", typeName(k), ssh.FingerprintSHA256(k), k.at)
	}
	files := make(map[string]bool)
	for _, k := range known {
		if !files[k.at.File] {
			fmt.Fprintf(&b, "If the new key is right, remove the old one with:\n  ssh-keygen -f %q -R %q\n", k.at.File, xknownhosts.Normalize(h.addr))
		}
		files[k.at.File] = true
	}
	b.WriteString("The host key check failed.")
	return b.String()
}

func (h *hostKeys) revokedText(key ssh.PublicKey, by string) string {
	return bar + "@        WARNING: THE HOST KEY OF THIS SERVER IS REVOKED       @\n" + bar +
		fmt.Sprintf("%s shows the %s key %s, which %s.\nIt may have been stolen: whoever shows it may not be the server. Ask its administrator.\nThe host key check failed.",
			h.name(), typeName(key), ssh.FingerprintSHA256(key), by)
}

const bar = "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\n"

// typeName is the short name that people know a key type by.
func typeName(key ssh.PublicKey) string {
	switch t := key.Type(); {
	case t == ssh.KeyAlgoED25519:
		return "ED25519"
	case t == ssh.KeyAlgoRSA:
		return "RSA"
	case strings.HasPrefix(t, "ecdsa-sha2-"):
		return "ECDSA"
	default:
		return t
	}
}

// addKnownHost appends a line to file, making it and its folder if they don't exist.
func addKnownHost(file, addr string, key ssh.PublicKey, hash bool) (err error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	line := knownHostLine(addr, key, hash)
	last := make([]byte, 1)
	if end, err := f.Seek(0, io.SeekEnd); err == nil && end > 0 {
		if _, err := f.ReadAt(last, end-1); err == nil && last[0] != '\n' {
			line = "\n" + line // somebody's editor left the last line open
		}
	}
	_, err = io.WriteString(f, line)
	return err
}

// knownHostLine is the line for a host in known_hosts; hashed, it doesn't tell which host.
func knownHostLine(addr string, key ssh.PublicKey, hash bool) string {
	if hash {
		addr = xknownhosts.HashHostname(xknownhosts.Normalize(addr))
		return addr + " " + string(ssh.MarshalAuthorizedKey(key))
	}
	return xknownhosts.Line([]string{addr}, key) + "\n"
}
