package server

import (
	"errors"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh"
)

// counting is a host key that counts what it has signed.
type counting struct {
	ssh.Signer
	signed atomic.Int64
}

func (s *counting) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	s.signed.Add(1)
	return s.Signer.Sign(rand, data)
}

// countsExchanges has the host key count.
func (b *bastion) countsExchanges() *counting {
	host := &counting{Signer: b.host}
	b.cfg.HostKeys = []ssh.Signer{host}
	return host
}

// many returns so many keys that nobody has authorized.
func many(t testing.TB, n int) (keys []ssh.Signer) {
	for range n {
		_, key := newKey(t)
		keys = append(keys, key)
	}
	return keys
}

// A client that asks for new keys each 256 bytes does so between two keys that it offers.
func TestNewKeysBeforeAuthenticationEndTheConnection(t *testing.T) {
	t.Parallel()
	b := newBastion(t)
	key, _ := b.user("alice")
	b.all.MaxAuthTries = 30
	host := b.countsExchanges()
	b.start()
	cfg := b.clientConfig("alice", ssh.PublicKeys(append(many(t, 20), key)...))
	cfg.RekeyThreshold = 256
	if client, err := ssh.Dial("tcp", b.addr, cfg); err == nil {
		client.Close()
		t.Error("logged in, and keys were exchanged meanwhile")
	}
	b.events.wait("connection.closed", "reason", errRekeyed.Error())
	if n := host.signed.Load(); n != 1 {
		t.Errorf("%d key exchanges before authentication, want 1", n)
	}
}

func TestNewKeysAfterAuthentication(t *testing.T) {
	t.Parallel()
	b := newBastion(t)
	key, _ := b.user("alice")
	host := b.countsExchanges()
	b.start()
	cfg := b.clientConfig("alice", ssh.PublicKeys(key))
	cfg.RekeyThreshold = 16 << 10
	client, err := ssh.Dial("tcp", b.addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for range 20 {
		if _, _, err := client.SendRequest("any", true, make([]byte, 10<<10)); err != nil {
			t.Fatalf("after %d key exchanges: %v", host.signed.Load(), err)
		}
	}
	if n := host.signed.Load(); n < 5 {
		t.Errorf("%d key exchanges, want more: the test shows nothing", n)
	}
}

// OpenSSH's client takes it for an error if it is asked for new keys before it is authenticated.
func TestLeastRekeyLimitAsksForNoNewKeysBeforeAuthentication(t *testing.T) {
	t.Parallel()
	b := newBastion(t)
	key, _ := b.user("alice")
	b.cfg.RekeyBytes = 16
	b.all.MaxAuthTries = 30
	host := b.countsExchanges()
	b.start()
	b.mustDial("alice", ssh.PublicKeys(append(many(t, 20), key)...)).Close()
	if n := host.signed.Load(); n != 1 {
		t.Errorf("%d key exchanges before authentication, want 1", n)
	}
}

// Whoever can choose the algorithm of a host key can do so still, and nobody else.
func TestSignersOfExchangesAreWhatTheirKeysAre(t *testing.T) {
	t.Parallel()
	_, key := newKey(t)
	several, err := ssh.NewSignerWithAlgorithms(key.(ssh.AlgorithmSigner), []string{ssh.KeyAlgoED25519})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		key               ssh.Signer
		chooses, hasNames bool
	}{
		"plain":    {struct{ ssh.Signer }{key}, false, false},
		"chooses":  {struct{ ssh.AlgorithmSigner }{several}, true, false},
		"has some": {several, true, true},
	} {
		known := false
		e := &exchanges{known: func() bool { return known }}
		signer := e.signer(c.key)
		chooses, ok := signer.(ssh.AlgorithmSigner)
		multi, hasNames := signer.(ssh.MultiAlgorithmSigner)
		if ok != c.chooses || hasNames != c.hasNames {
			t.Errorf("%s: chooses %v, has names %v; want %v, %v", name, ok, hasNames, c.chooses, c.hasNames)
		}
		if hasNames && !slices.Equal(multi.Algorithms(), several.Algorithms()) {
			t.Errorf("%s: got %q, want %q", name, multi.Algorithms(), several.Algorithms())
		}
		sign := func() error {
			if chooses == nil {
				_, err := signer.Sign(nil, []byte("data"))
				return err
			}
			_, err := chooses.SignWithAlgorithm(nil, []byte("data"), ssh.KeyAlgoED25519)
			return err
		}
		for i, want := range []error{nil, errRekeyed, nil} {
			known = i == 2
			if err := sign(); !errors.Is(err, want) {
				t.Errorf("%s: signature %d: got %v, want %v", name, i, err, want)
			}
		}
	}
}

// OpenSSH asks for no new keys before it is authenticated, however often it does so afterwards.
func TestOpenSSHWithTheLeastRekeyLimitLogsIn(t *testing.T) {
	t.Parallel()
	b := newBastion(t)
	_, identity := b.user("alice")
	host := b.countsExchanges()
	b.start()
	if got := b.verbose(identity, "-o", "RekeyLimit=16"); !strings.Contains(got, "Authenticated to") {
		t.Errorf("want a login: %s", got)
	}
	if n := host.signed.Load(); n < 2 {
		t.Errorf("%d key exchanges, want more than the first", n)
	}
}
