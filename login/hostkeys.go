package login

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"github.com/culvert-ssh/culvert/sshconfig"
)

// OpenSSH's PROTOCOL, section 2.5: a server tells its other host keys, and proves on request that it has them.
const (
	hostKeysRequest  = "hostkeys-00@openssh.com"
	proveKeysRequest = "hostkeys-prove-00@openssh.com"

	maxHostKeys = 64 // that a server may tell
)

// UpdateHostKeys is what becomes of host keys that a server tells of (UpdateHostKeys in ssh_config(5)). The zero value leaves known_hosts as it is.
type UpdateHostKeys int

const (
	NeverUpdate  UpdateHostKeys = iota // "no"
	AskToUpdate                        // "ask": the person decides
	AlwaysUpdate                       // "yes", the default where UserKnownHostsFile has its own
)

// followHostKeys takes what the server says about its host keys out of its requests.
func (c *Conn) followHostKeys(ctx context.Context, keys *hostKeys) {
	in, out := c.Requests, make(chan *ssh.Request)
	c.Requests = out
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	c.wg.Go(func() {
		defer close(out)
		defer cancel(errors.New("the connection has ended"))
		told := false
		for r := range in {
			if r.Type != hostKeysRequest {
				out <- r
				continue
			}
			if r.WantReply {
				_ = r.Reply(false, nil) // a failing reply means a dying connection
			}
			if told { // once is enough: what it makes of us costs the server nothing
				continue
			}
			told = true
			c.wg.Go(func() {
				log := keys.cfg.Logger().With("host", keys.name())
				if err := keys.update(ctx, c.Conn, r.Payload); err != nil {
					log.Debug("the server's other host keys are left alone", "err", err)
				} else {
					log.Debug("the server's host keys are known")
				}
			})
		}
	})
}

// update makes known_hosts have the host keys that the server tells: as one is known, the others are believed that it proves to have, and
// what it has no longer is taken out. A nil error says that the file is as it should be.
func (h *hostKeys) update(ctx context.Context, conn ssh.Conn, payload []byte) error {
	if h.cfg.updates() == NeverUpdate || !h.follow {
		return errors.New("UpdateHostKeys, or how the host key became known, is against it")
	}
	has, err := h.told(payload)
	if err != nil {
		return err
	}
	files, err := h.files()
	if err != nil {
		return err
	}
	var fresh, gone []ssh.PublicKey
	for _, key := range has {
		if !slices.ContainsFunc(files, func(f *hostFile) bool { return f.has(key) }) {
			fresh = append(fresh, key)
		}
	}
	for _, f := range files {
		for _, l := range f.keys {
			if h.accepts(l.key) && !containsKey(has, l.key) && !containsKey(gone, l.key) {
				gone = append(gone, l.key)
			}
		}
	}
	if len(fresh)+len(gone) == 0 {
		return nil
	}
	if err := prove(conn, fresh); err != nil {
		return err
	}
	if h.cfg.updates() == AskToUpdate {
		if err := h.askToUpdate(ctx, fresh, gone); err != nil {
			return err
		}
	}
	return h.write(files, fresh, gone)
}

// updates is UpdateHostKeys, or its default.
func (c *Config) updates() UpdateHostKeys {
	if !c.set["updatehostkeys"] && !c.set["userknownhostsfile"] {
		return AlwaysUpdate
	}
	return c.UpdateHostKeys
}

// told returns the host keys in a server's message that are of use to us. The one that it logged in by must be among them.
func (h *hostKeys) told(payload []byte) ([]ssh.PublicKey, error) {
	var keys []ssh.PublicKey
	for n := 0; len(payload) > 0; n++ {
		var next struct {
			Key  []byte
			Rest []byte `ssh:"rest"`
		}
		if err := ssh.Unmarshal(payload, &next); err != nil || n == maxHostKeys {
			return nil, errors.New("the message can't be understood, or is too long")
		}
		payload = next.Rest
		key, err := ssh.ParsePublicKey(next.Key)
		if err != nil || !h.accepts(key) || h.refuse(key) != nil {
			continue
		}
		if containsKey(keys, key) {
			return nil, errors.New("the message has a key twice")
		}
		if _, revoked := has(h.known.revoked, key); revoked {
			return nil, errors.New("the message has a key that is revoked")
		}
		keys = append(keys, key)
	}
	if h.shown == nil || !containsKey(keys, h.shown) {
		return nil, errors.New("the message doesn't have the key that the server showed")
	}
	return keys, nil
}

// accepts reports whether a host may show a key at all.
func (h *hostKeys) accepts(key ssh.PublicKey) bool {
	if key.Type() == ssh.KeyAlgoRSA {
		return slices.Contains(h.cfg.HostKeyAlgorithms, ssh.KeyAlgoRSASHA256) || slices.Contains(h.cfg.HostKeyAlgorithms, ssh.KeyAlgoRSASHA512)
	}
	_, isCert := key.(*ssh.Certificate)
	return !isCert && slices.Contains(h.cfg.HostKeyAlgorithms, key.Type())
}

// files reads the user's files. They are left alone if a line is about more than this host, or if the key that the server showed
// isn't known from them.
func (h *hostKeys) files() ([]*hostFile, error) {
	var files []*hostFile
	found := false
	for _, path := range h.cfg.UserKnownHosts {
		f, err := readHostFile(path, xknownhosts.Normalize(h.addr))
		if err != nil {
			return nil, err
		}
		if f.many {
			return nil, fmt.Errorf("%q has the host in a line with others", path)
		}
		found = found || f.has(h.shown)
		files = append(files, f)
	}
	if !found {
		return nil, errors.New("the host isn't known from the user's files")
	}
	return files, nil
}

// prove has the server sign for its keys, each in this session alone.
func prove(conn ssh.Conn, keys []ssh.PublicKey) error {
	if len(keys) == 0 {
		return nil
	}
	var question []byte
	for _, key := range keys {
		question = append(question, ssh.Marshal(struct{ Key []byte }{key.Marshal()})...)
	}
	ok, answer, err := conn.SendRequest(proveKeysRequest, true, question)
	if err != nil || !ok {
		return fmt.Errorf("the server doesn't prove that it has its other host keys (%w)", errors.Join(err, errors.New("or refuses to")))
	}
	for _, key := range keys {
		var next struct {
			Signature []byte
			Rest      []byte `ssh:"rest"`
		}
		var sig ssh.Signature
		err := ssh.Unmarshal(answer, &next)
		if err == nil {
			err = ssh.Unmarshal(next.Signature, &sig)
		}
		if err == nil && sig.Format == ssh.KeyAlgoRSA {
			err = errors.New("it is signed with SHA-1")
		}
		if err == nil {
			err = key.Verify(ssh.Marshal(struct {
				Request      string
				Session, Key []byte
			}{proveKeysRequest, conn.SessionID(), key.Marshal()}), &sig)
		}
		if err != nil {
			return fmt.Errorf("the server's proof of its host key %s is wrong: %s", ssh.FingerprintSHA256(key), sshconfig.Printable(err.Error()))
		}
		answer = next.Rest
	}
	return nil
}

func (h *hostKeys) askToUpdate(ctx context.Context, fresh, gone []ssh.PublicKey) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s has told its host keys.\n", h.name())
	for _, key := range fresh {
		fmt.Fprintf(&b, "New:      %s %s\n", typeName(key), ssh.FingerprintSHA256(key))
	}
	for _, key := range gone {
		fmt.Fprintf(&b, "No more:  %s %s\n", typeName(key), ssh.FingerprintSHA256(key))
	}
	b.WriteString("Change known_hosts so? (yes or no): ")
	answer, err := h.cfg.ask(ctx, b.String(), true)
	if err == nil && !strings.EqualFold(strings.TrimSpace(answer), "yes") {
		err = errors.New("the answer was not yes")
	}
	return err
}

// write changes the files. New keys go to the first.
func (h *hostKeys) write(files []*hostFile, fresh, gone []ssh.PublicKey) error {
	for i, f := range files {
		var more []string
		if i == 0 {
			hash := h.cfg.HashKnownHosts || slices.ContainsFunc(f.keys, func(l hostLine) bool { return l.hashed })
			for _, key := range fresh {
				more = append(more, knownHostLine(h.addr, key, hash))
			}
		}
		if len(more) == 0 && !slices.ContainsFunc(gone, f.has) {
			continue
		}
		if err := f.rewrite(gone, more); err != nil {
			return err
		}
	}
	for _, key := range fresh {
		h.cfg.Tell(fmt.Sprintf("Learned a new host key of %s: %s %s", h.name(), typeName(key), ssh.FingerprintSHA256(key)))
	}
	for _, key := range gone {
		h.cfg.Tell(fmt.Sprintf("Forgot a host key that %s has no longer: %s %s", h.name(), typeName(key), ssh.FingerprintSHA256(key)))
	}
	return nil
}

func containsKey(keys []ssh.PublicKey, key ssh.PublicKey) bool {
	return slices.ContainsFunc(keys, func(k ssh.PublicKey) bool { return bytes.Equal(k.Marshal(), key.Marshal()) })
}
