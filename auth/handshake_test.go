package auth

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/policy"
)

// bastion authenticates as culvertd does, against files in a folder.
type bastion struct {
	t    *testing.T
	dir  string
	host ssh.Signer
	cfg  Config

	made      *Authenticator // if nil, each login has one of its own
	settings  Settings       // for everybody
	policy    policy.Policy
	reportErr error

	mu       sync.Mutex
	attempts []Attempt
}

func newBastion(t *testing.T) *bastion {
	t.Helper()
	b := &bastion{t: t, dir: t.TempDir(), host: newKey(t)}
	if err := os.WriteFile(filepath.Join(b.dir, "passwords"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.settings = Settings{
		PubkeyAuthentication: true, PasswordAuthentication: true, KbdInteractiveAuthentication: true,
		AuthorizedKeysFile: []string{filepath.Join(b.dir, "%u")},
		PasswordFile:       filepath.Join(b.dir, "passwords"),
	}
	b.cfg = Config{
		Settings: func(policy.Subject) Settings { return b.settings },
		Admit:    func(s policy.Subject) policy.Decision { return b.policy.Admit(s, time.Now()) },
		Offered:  func() Offered { return Offered{PublicKey: true, Password: true, KbdInteractive: true} },
		Now:      time.Now,
	}
	return b
}

// authorize writes the keys file of a user.
func (b *bastion) authorize(user string, lines ...string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, user), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bastion) recorded() []Attempt {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.attempts
}

// lastReason is why the last attempt was refused.
func (b *bastion) lastReason() string {
	all := b.recorded()
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1].Reason
}

// login makes a handshake over loopback, tries the methods in turn, and returns who was let in.
func (b *bastion) login(user string, methods ...ssh.AuthMethod) (policy.Subject, error) {
	b.t.Helper()
	next := func(*ssh.ClientAuthContext) (ssh.AuthMethod, error) {
		if len(methods) == 0 {
			return nil, errors.New("no more methods to try")
		}
		m := methods[0]
		methods = methods[1:]
		return m, nil
	}
	client, server := loopback(b.t)
	a, err := b.made, error(nil)
	if a == nil {
		a, err = New(b.cfg)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	var (
		subject   policy.Subject
		serverErr error
		done      = make(chan struct{})
	)
	go func() {
		defer close(done)
		defer server.Close()
		c := a.Client(b.t.Context(), netip.MustParseAddrPort("192.0.2.7:50000"), netip.MustParseAddrPort("192.0.2.1:22"), func(at Attempt) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.attempts = append(b.attempts, at)
			return b.reportErr
		})
		cfg := &ssh.ServerConfig{NoClientAuth: true} // as gliderlabs/ssh does
		cfg.AddHostKey(b.host)
		c.Install(cfg)
		conn, chans, reqs, err := ssh.NewServerConn(server, cfg)
		if err != nil {
			c.Failed(err)
			serverErr = err
			return
		}
		subject, serverErr = SubjectOf(conn)
		conn.Close()
		go ssh.DiscardRequests(reqs)
		for nc := range chans {
			_ = nc.Reject(ssh.Prohibited, "")
		}
	}()
	conn, _, _, err := ssh.NewClientConn(client, "bastion", &ssh.ClientConfig{
		User: user, AuthCallback: next, HostKeyCallback: ssh.FixedHostKey(b.host.PublicKey()),
	})
	if err == nil {
		conn.Close()
	}
	client.Close()
	<-done
	if (err == nil) != (serverErr == nil) {
		b.t.Fatalf("client says %v, server says %v", err, serverErr)
	}
	return subject, err
}

func loopback(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func newKey(t testing.TB) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func line(s ssh.Signer) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.PublicKey())))
}

func fingerprint(s ssh.Signer) string { return ssh.FingerprintSHA256(s.PublicKey()) }

// A forger offers somebody's public key and signs with nonsense.
type forger struct{ ssh.Signer }

func (f forger) Sign(io.Reader, []byte) (*ssh.Signature, error) {
	return &ssh.Signature{Format: f.PublicKey().Type(), Blob: make([]byte, ed25519.SignatureSize)}, nil
}

func TestNoneIsRefused(t *testing.T) {
	b := newBastion(t)
	b.authorize("alice", line(newKey(t)))
	if s, err := b.login("alice"); err == nil {
		t.Fatalf("%+v got in without proving anything", s)
	}
	if got := b.recorded(); len(got) != 0 {
		t.Errorf("attempts: got %+v, want none, the method none is a question", got)
	}
}

func TestProvenKeyIsTheSubject(t *testing.T) {
	b := newBastion(t)
	key := newKey(t)
	b.authorize("alice", "# comment", `permitopen="db.corp:5432",restrict,port-forwarding `+line(key)+" a comment")
	s, err := b.login("alice", ssh.PublicKeys(key))
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(b.dir, "alice") + ":2"
	if s.User != "alice" || s.Key != fingerprint(key) || s.Addr.String() != "192.0.2.7" || s.LocalAddr.Port() != 22 {
		t.Errorf("subject: got %+v", s)
	}
	if r := s.KeyRules; r == nil || r.Source != source || r.NoPortForwarding || len(r.PermitOpen) != 1 {
		t.Errorf("key rules: got %+v, want those of %s", r, source)
	}
	want := Attempt{User: "alice", Method: "publickey", Key: fingerprint(key), KeyLine: source, Accepted: true}
	got := b.recorded()
	if len(got) != 1 || got[0].Subject == nil || !reflect.DeepEqual(*got[0].Subject, s) {
		t.Fatalf("attempts: got %+v, want one, of %+v", got, s)
	}
	if got[0].Subject = nil; got[0] != want {
		t.Errorf("attempt: got %+v, want %+v", got[0], want)
	}
}

func TestForeignKeyIsRefused(t *testing.T) {
	b := newBastion(t)
	key := newKey(t)
	b.authorize("alice", line(newKey(t)))
	if _, err := b.login("alice", ssh.PublicKeys(key)); err == nil {
		t.Fatal("a foreign key got in")
	}
	got := b.recorded()
	if len(got) != 1 || got[0].Accepted || got[0].Key != fingerprint(key) || !strings.Contains(got[0].Reason, "the key is not in") {
		t.Errorf("attempts: got %+v, want one refusal of %s", got, fingerprint(key))
	}
}

func TestKeyThatIsNotProvenIsRefused(t *testing.T) {
	b := newBastion(t)
	key := newKey(t)
	b.authorize("alice", line(key))
	if s, err := b.login("alice", ssh.PublicKeys(forger{key})); err == nil {
		t.Fatalf("%+v got in with a key that somebody else has", s)
	}
	got := b.recorded()
	if len(got) != 1 || got[0].Accepted || got[0].Key != fingerprint(key) || !strings.Contains(got[0].Reason, "not proven") {
		t.Errorf("attempts: got %+v, want one refusal that says the key was not proven", got)
	}
}

func TestOfferedKeyLeavesNothingBehind(t *testing.T) {
	b := newBastion(t)
	offered, own := newKey(t), newKey(t)
	b.authorize("alice", `permitopen="secret.corp:1" `+line(offered), line(own))
	// The offered key would serve; the client then proves another one.
	s, err := b.login("alice", ssh.PublicKeys(unwilling{offered}), ssh.PublicKeys(own))
	if err != nil {
		t.Fatal(err)
	}
	if s.Key != fingerprint(own) || len(s.KeyRules.PermitOpen) != 0 || !strings.HasSuffix(s.KeyRules.Source, ":2") {
		t.Errorf("got %+v with rules %+v, want the proven key's alone", s, s.KeyRules)
	}
}

// unwilling offers a key and doesn't sign with it.
type unwilling struct{ ssh.Signer }

func (u unwilling) Sign(io.Reader, []byte) (*ssh.Signature, error) {
	return nil, errors.New("not willing to sign")
}

func TestPasswords(t *testing.T) {
	b := newBastion(t)
	for user, password := range map[string]string{"alice": "sesame", "bob": "other"} {
		if err := SetPassword(filepath.Join(b.dir, "passwords"), user, password); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		user, password string
		reason         string // empty if let in
	}{
		{"alice", "sesame", ""},
		{"bob", "other", ""},
		{"alice", "other", "wrong password"},
		{"alice", "", "wrong password"},
		{"alice", strings.Repeat("x", maxPassword+1), "wrong password"},
		{"carol", "sesame", "no password for this user"},
		{"../alice", "sesame", `user name begins with '.'`},
	} {
		b.attempts = nil
		s, err := b.login(tt.user, ssh.Password(tt.password))
		if (err == nil) != (tt.reason == "") {
			t.Errorf("%s with %.20q: got error %v, want reason %q", tt.user, tt.password, err, tt.reason)
		}
		if err == nil && (s.User != tt.user || s.Key != "" || s.KeyRules != nil) {
			t.Errorf("%s with %.20q: got subject %+v", tt.user, tt.password, s)
		}
		got := b.recorded()
		if len(got) != 1 || got[0].Accepted != (tt.reason == "") || !strings.Contains(got[0].Reason, tt.reason) {
			t.Errorf("%s with %.20q: attempts: got %+v, want one with reason %q", tt.user, tt.password, got, tt.reason)
		}
	}
}

func TestTheTwoMethodsDoNotMix(t *testing.T) {
	b := newBastion(t)
	key := newKey(t)
	b.authorize("alice", line(key))
	if err := SetPassword(filepath.Join(b.dir, "passwords"), "alice", "sesame"); err != nil {
		t.Fatal(err)
	}
	// The key is offered and found good, but what proves the identity in the end is a password.
	s, err := b.login("alice", ssh.PublicKeys(unwilling{key}), ssh.Password("sesame"))
	if err != nil {
		t.Fatal(err)
	}
	if s.Key != "" || s.KeyRules != nil {
		t.Errorf("got %+v, want no key: none was proven", s)
	}
}

func TestMethodThatIsSwitchedOffServesNobody(t *testing.T) {
	b := newBastion(t)
	key := newKey(t)
	b.authorize("alice", line(key))
	settings := b.cfg.Settings
	if err := SetPassword(filepath.Join(b.dir, "passwords"), "alice", "sesame"); err != nil {
		t.Fatal(err)
	}
	b.cfg.Settings = func(s policy.Subject) Settings {
		st := settings(s)
		st.PubkeyAuthentication, st.PasswordAuthentication = s.User == "bob", s.User == "bob"
		return st
	}
	for _, m := range []ssh.AuthMethod{ssh.PublicKeys(key), ssh.Password("sesame")} {
		if s, err := b.login("alice", m); err == nil {
			t.Errorf("got %+v, want a refusal", s)
		}
	}
	for _, a := range b.recorded() {
		if !strings.Contains(a.Reason, "is no") {
			t.Errorf("reason: got %q, want the keyword that says no", a.Reason)
		}
	}
}

func TestWhatCannotBeRecordedIsRefused(t *testing.T) {
	b := newBastion(t)
	key := newKey(t)
	b.authorize("alice", line(key))
	b.reportErr = errors.New("disk full")
	if s, err := b.login("alice", ssh.PublicKeys(key)); err == nil {
		t.Errorf("got %+v, want a refusal", s)
	}
}

func TestWeakKeysAreRefused(t *testing.T) {
	b := newBastion(t)
	t.Setenv("GODEBUG", "rsa1024min=0")
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := ssh.NewSignerFromKey(short)
	if err != nil {
		t.Fatal(err)
	}
	b.authorize("alice", line(weak))
	if _, err := b.login("alice", ssh.PublicKeys(weak)); err == nil {
		t.Error("an RSA key of 1024 bits got in")
	}
	if got := b.recorded(); len(got) != 1 || !strings.Contains(got[0].Reason, "shorter than 2048") {
		t.Errorf("attempts: got %+v, want one that says the key is too short", got)
	}
}

func TestSHA1SignaturesAreNotAccepted(t *testing.T) {
	for _, a := range PublicKeyAlgorithms() {
		if a == ssh.KeyAlgoRSA || a == "ssh-dss" {
			t.Errorf("%s is accepted", a)
		}
	}
	b := newBastion(t)
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(k)
	if err != nil {
		t.Fatal(err)
	}
	b.authorize("alice", line(signer))
	if _, err := b.login("alice", ssh.PublicKeys(signer)); err != nil {
		t.Errorf("RSA with SHA-2: %v", err)
	}
	old, err := ssh.NewSignerWithAlgorithms(signer.(ssh.AlgorithmSigner), []string{ssh.KeyAlgoRSA})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.login("alice", ssh.PublicKeys(old)); err == nil {
		t.Error("RSA with SHA-1 got in")
	}
}
