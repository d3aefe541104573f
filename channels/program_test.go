package channels_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	protocol "github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/channels"
	"github.com/culvert-ssh/culvert/policy"
)

func newSessions(t *testing.T, s channels.Sessions, key *policy.KeyRules) *bastion {
	t.Helper()
	return newBastion(t, permit(t, "*:*", ""), func(c *channels.Config) {
		c.Sessions = func() channels.Sessions { return s }
		c.MaxSessions = 8 // a session that has ended may count for a moment
		withKey(c, key)
	})
}

func word(s string) []byte { return ssh.Marshal(struct{ S string }{s}) }

func TestTerminalIsRefusedByPermitTTYAndByTheKey(t *testing.T) {
	for name, tt := range map[string]struct {
		permit bool
		key    *policy.KeyRules
		want   bool
	}{
		"PermitTTY yes":          {true, nil, true},
		"PermitTTY no":           {false, nil, false},
		"the key's no-pty":       {true, &policy.KeyRules{NoPTY: true}, false},
		"a key without a no-pty": {true, &policy.KeyRules{}, true},
	} {
		b := newSessions(t, channels.Sessions{PermitTTY: tt.permit}, tt.key)
		ch, reqs := b.session()
		go ssh.DiscardRequests(reqs)
		if ok, err := ch.SendRequest("pty-req", true, nil); ok != tt.want || err != nil {
			t.Errorf("%s: pty-req is %t, %v", name, ok, err)
		}
		if ok, err := ch.SendRequest("shell", true, nil); !ok || err != nil {
			t.Errorf("%s: shell is %t, %v", name, ok, err)
		}
		ch.Close()
	}
}

func TestEnvironmentIsTakenOrRefusedAndNothingElse(t *testing.T) {
	b := newSessions(t, channels.Sessions{AcceptEnv: []string{"LANG", "LC_*"}}, nil)
	ch, reqs := b.session()
	go ssh.DiscardRequests(reqs)
	for name, want := range map[string]bool{"LANG": true, "LC_ALL": true, "LANGUAGE": false, "PATH": false, "": false} {
		if ok, err := ch.SendRequest("env", true, ssh.Marshal(struct{ N, V string }{name, "x"})); ok != want || err != nil {
			t.Errorf("env %q: %t, %v", name, ok, err)
		}
	}
	if ok, _ := ch.SendRequest("env", true, []byte{1}); ok {
		t.Error("a malformed env was taken")
	}
	ch.Close()
}

func TestForcedCommandThatIsAProgramRunsNothing(t *testing.T) {
	to := echo(t, "127.0.0.1:0")
	for name, tt := range map[string]struct {
		sessions channels.Sessions
		key      *policy.KeyRules
	}{
		"ForceCommand": {channels.Sessions{ForceCommand: "/bin/date"}, nil},
		"command=":     {channels.Sessions{}, &policy.KeyRules{ForceCommand: "/bin/date"}},
		"both":         {channels.Sessions{ForceCommand: "/bin/date"}, &policy.KeyRules{ForceCommand: "internal-sftp"}},
		"an option":    {channels.Sessions{ForceCommand: "internal-sftp -P write", Directory: nowhere}, nil},
		"no directory": {channels.Sessions{ForceCommand: "internal-sftp"}, nil},
	} {
		b := newSessions(t, tt.sessions, tt.key)
		for _, kind := range []string{"shell", "exec", "subsystem"} {
			ch, reqs := b.session()
			status := exitStatus(reqs)
			if ok, err := ch.SendRequest(kind, true, word("ls")); !ok || err != nil {
				t.Fatalf("%s: %s is %t, %v", name, kind, ok, err)
			}
			if out, _ := io.ReadAll(ch); len(out) > 0 {
				t.Errorf("%s: %s says %q", name, kind, out)
			}
			if text, _ := io.ReadAll(ch.Stderr()); !strings.HasPrefix(string(text), "culvertd: ") {
				t.Errorf("%s: %s explains itself with %q", name, kind, text)
			}
			if got := <-status; !bytes.Equal(got, []byte{0, 0, 0, 1}) {
				t.Errorf("%s: %s ends with %v", name, kind, got)
			}
		}
		if e := b.audit.wait(t, "session.refused"); e["reason"] == "" {
			t.Errorf("%s: audit has %v", name, e)
		}
		b.mustOpen("127.0.0.1", to.Port()).Close() // as in sshd, forwardings go on
	}
}

func nowhere() (string, error) { return "", errors.New("nobody should ask") }

// sftpSession returns an SFTP client in a session in which request started it.
func (b *bastion) sftpSession(request, name string) *protocol.Client {
	b.t.Helper()
	ch, reqs := b.session()
	go ssh.DiscardRequests(reqs)
	if ok, err := ch.SendRequest(request, true, word(name)); !ok || err != nil {
		text, _ := io.ReadAll(ch.Stderr())
		b.t.Fatalf("%s %s: %t, %v, %s", request, name, ok, err, text)
	}
	client, err := protocol.NewClientPipe(ch, ch)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { client.Close(); ch.Close() })
	return client
}

func TestInternalSFTPServesItsDirectoryOnTheRecord(t *testing.T) {
	for name, tt := range map[string]struct {
		sessions channels.Sessions
		key      *policy.KeyRules
		request  string
		readOnly bool
	}{
		"subsystem": {
			sessions: channels.Sessions{Subsystems: []channels.Subsystem{{"sftp", "internal-sftp"}}}, request: "subsystem",
		},
		"ForceCommand": {sessions: channels.Sessions{ForceCommand: "internal-sftp -R"}, request: "shell", readOnly: true},
		"command=":     {key: &policy.KeyRules{ForceCommand: "internal-sftp -l INFO"}, request: "exec"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(filepath.Join(dir, "there"), []byte("hello"), 0o644)); err != nil {
				t.Fatal(err)
			}
			tt.sessions.Directory = func() (string, error) { return dir, nil }
			b := newSessions(t, tt.sessions, tt.key)
			client := b.sftpSession(tt.request, "sftp")
			f, err := client.Open("/there")
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(f); string(got) != "hello" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
			f.Close()
			if err := client.Mkdir("made"); (err == nil) == tt.readOnly {
				t.Errorf("mkdir: %v", err)
			}
			if e := b.audit.event("session.started"); e["name"] != "sftp" || e["request"] != "c1-1" {
				t.Errorf("audit: %v", e)
			}
			if e := b.audit.event("sftp.opened"); e["path"] != "/there" || e["mode"] != "read" {
				t.Errorf("audit: %v", e)
			}
			if e := b.audit.event("sftp.closed"); e["path"] != "/there" || e["down"] != 5.0 {
				t.Errorf("audit: %v", e)
			}
			if e := b.audit.event("sftp.changed"); !tt.readOnly && (e["command"] != "mkdir" || e["path"] != "/made") {
				t.Errorf("audit: %v", e)
			}
		})
	}
}

func TestSFTPShowsNothingWithoutATrustedDirectory(t *testing.T) {
	open := t.TempDir()
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	sub := []channels.Subsystem{{"sftp", "internal-sftp"}}
	for name, s := range map[string]channels.Sessions{
		"writable":  {Subsystems: sub, Directory: func() (string, error) { return open, nil }},
		"not known": {Subsystems: sub, Directory: func() (string, error) { return "", errors.New("no home") }},
	} {
		b := newSessions(t, s, nil)
		ch, reqs := b.session()
		status := exitStatus(reqs)
		ch.SendRequest("subsystem", true, word("sftp"))
		if out, _ := io.ReadAll(ch); len(out) > 0 {
			t.Errorf("%s: %q came", name, out)
		}
		if got := <-status; !bytes.Equal(got, []byte{0, 0, 0, 1}) {
			t.Errorf("%s: ended with %v", name, got)
		}
		if e := b.audit.wait(t, "session.refused"); !strings.HasPrefix(e["reason"].(string), "ChrootDirectory: ") {
			t.Errorf("%s: audit has %v", name, e)
		}
	}
	b := newSessions(t, channels.Sessions{Subsystems: sub}, nil)
	ch, reqs := b.session()
	status := exitStatus(reqs)
	ch.SendRequest("subsystem", true, word("sftp"))
	if text, _ := io.ReadAll(ch.Stderr()); !strings.Contains(string(text), "ChrootDirectory") {
		t.Errorf("without ChrootDirectory it says %q", text)
	}
	if got := <-status; !bytes.Equal(got, []byte{0, 0, 0, 1}) {
		t.Errorf("without ChrootDirectory it ends with %v", got)
	}
	if e := b.audit.wait(t, "session.refused"); !strings.Contains(e["reason"].(string), "ChrootDirectory") {
		t.Errorf("audit: %v", e)
	}
}

func TestSFTPThatIsTakenAwayIsGone(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	directory := func() (string, error) { return dir, nil }
	sub := []channels.Subsystem{{"sftp", "internal-sftp"}}
	before := &channels.Sessions{Subsystems: sub, Directory: directory}
	for name, after := range map[string]*channels.Sessions{
		"no ChrootDirectory":  {Subsystems: sub},
		"another one":         {Subsystems: sub, Directory: func() (string, error) { return dir + "/other", nil }},
		"read-only":           {ForceCommand: "internal-sftp -R", Directory: directory},
		"no Subsystem":        {Directory: directory},
		"something unrelated": {Subsystems: sub, Directory: directory, AcceptEnv: []string{"LANG"}},
	} {
		t.Run(name, func(t *testing.T) {
			var now atomic.Pointer[channels.Sessions]
			now.Store(before)
			b := newBastion(t, permit(t, "*:*", ""), func(c *channels.Config) { c.Sessions = func() channels.Sessions { return *now.Load() } })
			client := b.sftpSession("subsystem", "sftp")
			if err := client.Mkdir("/made"); err != nil {
				t.Fatal(err)
			}
			now.Store(after)
			aborted := b.conn().Recheck()
			err := client.RemoveDirectory("/made")
			if name == "something unrelated" {
				if aborted != 0 || err != nil {
					t.Errorf("it ends: %d, %v", aborted, err)
				}
				return
			}
			if aborted != 1 || err == nil {
				t.Errorf("it goes on: %d, %v", aborted, err)
			}
			if e := b.audit.wait(t, "channel.closed"); e["result"] != "aborted" || !strings.Contains(e["reason"].(string), "the policy changed") {
				t.Errorf("audit: %v", e)
			}
			if err := os.Remove(filepath.Join(dir, "made")); err != nil {
				t.Error(err)
			}
		})
	}
}
