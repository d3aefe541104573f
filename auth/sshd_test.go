package auth

import (
	"fmt"
	"net/netip"
	"os/user"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/internal/peers"
	"github.com/culvert-ssh/culvert/policy"
)

// keyLines are lines of authorized_keys in which KEY is the key that logs in, and CA the authority that has certified it for the user, if the
// line begins a certificate's case. Whether the key serves says sshd; where we differ on purpose, stricter says so.
var keyLines = []struct {
	line     string
	names    []string // principals of the certificate; nil for a plain key. USER is the user
	stricter bool     // sshd lets in, and we don't
}{
	{line: `KEY`},
	{line: `  KEY`},
	{line: "\tKEY a comment, \"with quotes"},
	{line: `# KEY`},
	{line: `restrict KEY`},
	{line: `RESTRICT,Pty  KEY`},
	{line: "no-pty,pty\tKEY"},
	{line: `restrict, KEY`},
	{line: `,restrict KEY`},
	{line: `restrict,,pty KEY`},
	{line: `no-restrict KEY`},
	{line: `no-no-pty KEY`},
	{line: `unheard-of KEY`},
	{line: `restrict="yes" KEY`},
	{line: `command="true" KEY`},
	{line: `command="echo \"a b\", c" KEY`},
	{line: `command="true",command="true" KEY`},
	{line: `command=true KEY`},
	{line: `command="true KEY`},
	{line: `command="true"x KEY`},
	{line: `command="" KEY`, stricter: true},
	{line: `from="127.0.0.1" KEY`},
	{line: `from="127.0.0.0/8" KEY`},
	{line: `from="127.0.0.1/8" KEY`},
	{line: `from="192.0.2.0/24,127.0.0.?" KEY`},
	{line: `from="*" KEY`},
	{line: `from="*,!127.0.0.1" KEY`},
	{line: `from="!127.0.0.1,*" KEY`},
	{line: `from="!192.0.2.1" KEY`},
	{line: `from="!192.0.2.1,*" KEY`},
	{line: `from="192.0.2.1" KEY`},
	{line: `from="" KEY`},
	{line: `from="127.0.0.1",from="127.0.0.1" KEY`},
	{line: `from="192.0.2.1" KEY` + "\n" + `restrict KEY`},
	{line: `unheard-of KEY` + "\n" + `KEY`},
	{line: `expiry-time="20200101" KEY`},
	{line: `expiry-time="29990101" KEY`},
	{line: `expiry-time="299901010000Z" KEY`},
	{line: `expiry-time="20200101",expiry-time="29990101" KEY`},
	{line: `expiry-time="29990101",expiry-time="20200101" KEY`},
	{line: `expiry-time="2999" KEY`},
	{line: `permitopen="a.corp:1",permitopen="[2001:db8::1]:2" KEY`},
	{line: `permitopen="a.corp" KEY`},
	{line: `permitopen=a.corp:1 KEY`},
	{line: `permitlisten="8080",permitlisten="localhost:*" KEY`},
	{line: `permitlisten="localhost:x" KEY`},
	{line: `environment="A=b" KEY`},
	{line: `environment="A B=c" KEY`},
	{line: `environment="=c" KEY`},
	{line: `agent-forwarding,no-agent-forwarding,X11-forwarding,no-user-rc KEY`},
	{line: `no-touch-required,verify-required KEY`},
	{line: `tunnel="1" KEY`, stricter: true},
	{line: `cert-authority KEY`},
	{line: `principals="USER" KEY`},

	{line: `cert-authority CA`, names: []string{"USER"}},
	{line: `CA`, names: []string{"USER"}},
	{line: `KEY`, names: []string{"USER"}},
	{line: `cert-authority CA`, names: []string{"somebody"}},
	{line: `cert-authority CA`, names: []string{}, stricter: true},
	{line: `cert-authority,principals="a,b" CA`, names: []string{"b"}},
	{line: `cert-authority,principals="a,b" CA`, names: []string{"USER"}},
	{line: `cert-authority,principals="a",principals="b" CA`, names: []string{"b"}},
	{line: `cert-authority,principals="*" CA`, names: []string{"b"}},
	{line: `cert-authority,from="192.0.2.1" CA`, names: []string{"USER"}},
	{line: `cert-authority,expiry-time="20200101" CA`, names: []string{"USER"}},
	{line: `cert-authority,restrict CA`, names: []string{"USER"}},
}

// Every line has a key of its own, so that one sshd has all of them in one file.
func TestKeyLinesAsSSHD(t *testing.T) {
	if testing.Short() {
		t.Skip("it asks a real sshd some sixty times")
	}
	self := currentUser(t)
	var (
		file    strings.Builder
		texts   []string
		signers []ssh.Signer
	)
	for _, tt := range keyLines {
		key, authority := newKey(t), newKey(t)
		text := strings.NewReplacer("KEY", line(key), "CA ", line(authority)+" ", "CA", line(authority), "USER", self).Replace(tt.line)
		if tt.names != nil {
			key = certify(t, authority, key, func(c *ssh.Certificate) {
				c.ValidPrincipals = strings.Split(strings.ReplaceAll(strings.Join(tt.names, ","), "USER", self), ",")
				if len(tt.names) == 0 {
					c.ValidPrincipals = nil
				}
			})
		}
		texts, signers = append(texts, text), append(signers, key)
		file.WriteString(text + "\n")
	}
	sshd := peers.TestSSHD(t, peers.SSHDConfig{AuthorizedKeys: []byte(file.String())})
	for i, tt := range keyLines {
		theirs, ours := letsIn(t, sshd, signers[i]), serves(texts[i], signers[i].PublicKey(), self)
		if want := theirs && !tt.stricter; (ours == nil) != want {
			t.Errorf("%s: principals %q: sshd lets in: %t; here: %v", tt.line, tt.names, theirs, ours)
		}
		if tt.stricter && !theirs {
			t.Errorf("%s: sshd doesn't let in either, so that we don't differ", tt.line)
		}
	}
}

// letsIn reports whether sshd lets the key in.
func letsIn(t *testing.T, sshd *peers.SSHD, key ssh.Signer) bool {
	t.Helper()
	conn, err := ssh.Dial("tcp", sshd.Addr.String(), &ssh.ClientConfig{
		User: sshd.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.FixedHostKey(sshd.HostKey), Timeout: time.Minute,
	})
	switch {
	case err == nil:
		conn.Close()
	case !strings.Contains(err.Error(), "unable to authenticate"):
		t.Fatal(err)
	}
	return err == nil
}

// principalLines are lines of a principals file in which NAME is what the certificate is for.
var principalLines = []struct {
	lines    string
	stricter bool // sshd lets in, and we don't
}{
	{lines: "NAME"},
	{lines: "  NAME\t "},
	{lines: "# NAME"},
	{lines: "NAME # a comment"},
	{lines: "NAME#"},
	{lines: "XNAME"},
	{lines: "NAME,other"},
	{lines: "NAME other"},
	{lines: "*"},
	{lines: "restrict NAME"},
	{lines: "restrict\tNAME"},
	{lines: "restrict \t NAME"},
	{lines: "restrict pty NAME", stricter: true},
	{lines: `command="a b" NAME`},
	{lines: `command="a # b" NAME`},
	{lines: `command="a b" "NAME"`},
	{lines: "unheard-of NAME"},
	{lines: "unheard-of NAME\nNAME"},
	{lines: `from="192.0.2.1" NAME`},
	{lines: `from="192.0.2.1" NAME` + "\nNAME"},
	{lines: `from="127.0.0.1" NAME`},
	{lines: `expiry-time="20200101" NAME`},
	{lines: "cert-authority NAME"},
	{lines: `principals="NAME" NAME`},
}

func TestPrincipalLinesAsSSHD(t *testing.T) {
	if testing.Short() {
		t.Skip("it asks a real sshd some twenty times")
	}
	var (
		authority = newKey(t)
		file      strings.Builder
		signers   []ssh.Signer
	)
	for i, tt := range principalLines {
		name := fmt.Sprintf("name-%d-", i)
		file.WriteString(strings.ReplaceAll(tt.lines, "NAME", name) + "\n")
		signers = append(signers, certify(t, authority, newKey(t), named(name)))
	}
	b := newBastion(t)
	sshd := peers.TestSSHD(t, peers.SSHDConfig{Lines: []string{
		"TrustedUserCAKeys " + b.write("authorities", line(authority)), "AuthorizedPrincipalsFile " + b.write("principals", file.String()),
	}})
	for i, tt := range principalLines {
		l := lookup{
			claimed: policy.Subject{User: sshd.User, Addr: netip.MustParseAddr("127.0.0.1")}, settings: &Settings{},
			now: time.Now(), certificate: signers[i].PublicKey().(*ssh.Certificate),
		}
		_, _, ours := l.searchPrincipals("principals", []byte(file.String()))
		theirs := letsIn(t, sshd, signers[i])
		if want := theirs && !tt.stricter; (ours == nil) != want {
			t.Errorf("%q: sshd lets in: %t; here: %v", tt.lines, theirs, ours)
		}
		if tt.stricter && !theirs {
			t.Errorf("%q: sshd doesn't let in either, so that we don't differ", tt.lines)
		}
	}
}

// serves returns why no line of text lets key in.
func serves(text string, key ssh.PublicKey, name string) error {
	claimed := policy.Subject{User: name, Addr: netip.MustParseAddr("127.0.0.1")}
	l := lookup{claimed: claimed, settings: &Settings{}, key: key, now: time.Now()}
	if cert, ok := key.(*ssh.Certificate); ok {
		own, err := l.settings.certificateOptions(cert, claimed, l.now)
		if err != nil {
			return err
		}
		l.certificate, l.own = cert, own
	}
	o, err := l.search("keys", []byte(text))
	if err == nil {
		_, err = l.grant(o)
	}
	return err
}

func currentUser(t *testing.T) string {
	t.Helper()
	self, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return self.Username
}
