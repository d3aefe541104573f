package channels_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/channels"
)

func (b *bastion) session() (ssh.Channel, <-chan *ssh.Request) {
	b.t.Helper()
	ch, reqs, err := b.client.OpenChannel("session", nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return ch, reqs
}

func TestSessionSaysWhoWhatAndHowAndStays(t *testing.T) {
	b := newBastion(t, permit(t, "ftp/ftp.corp:21 db*.corp:5432,6432", ""), nil)
	ch, reqs := b.session()
	go ssh.DiscardRequests(reqs)
	ch.CloseWrite() // ssh </dev/null: the end of input isn't the end of the session
	if ok, err := ch.SendRequest("shell", true, nil); !ok || err != nil {
		t.Fatalf("shell: %v, %v", ok, err)
	}
	text := readUntil(t, ch, "until you end it.\n")
	for _, want := range []string{
		"You are alice, from 127.0.0.1.",
		"  ftp/ftp.corp:21\n",
		"  db*.corp:5432,6432\n",
		"  culvert -N -p 2222 -L ftp/2121:ftp.corp:21 alice@127.0.0.1\n",
		"  ssh -N -p 2222 -L 8000:HOST:5432 alice@127.0.0.1\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the text lacks %q:\n%s", want, text)
		}
	}
	for range 20 {
		if ok, err := ch.SendRequest("signal", true, nil); !ok || err != nil {
			t.Fatalf("the session has ended: %v, %v", ok, err)
		}
	}
	ch.Close()
}

// readUntil reads until a text has come.
func readUntil(t *testing.T, r io.Reader, end string) string {
	t.Helper()
	var got bytes.Buffer
	buf := make([]byte, 512)
	for !strings.Contains(got.String(), end) {
		n, err := r.Read(buf)
		got.Write(buf[:n])
		if err != nil {
			t.Fatalf("read %q until %q: %v", got.String(), end, err)
		}
	}
	return got.String()
}

// exitStatus hands on the payload of the exit-status request, and takes all others.
func exitStatus(reqs <-chan *ssh.Request) <-chan []byte {
	status := make(chan []byte, 1)
	go func() {
		for r := range reqs {
			if r.Type == "exit-status" {
				status <- r.Payload
			}
		}
	}()
	return status
}

func TestSessionAtATerminalEndsWithControlD(t *testing.T) {
	b := newBastion(t, permit(t, "", ""), nil)
	ch, reqs := b.session()
	status := exitStatus(reqs)
	ch.SendRequest("pty-req", true, nil)
	ch.SendRequest("shell", true, nil)
	text := readUntil(t, ch, "(Ctrl-D).\r\n")
	if !strings.Contains(text, "You may not open anything") {
		t.Errorf("the text is %q", text)
	}
	io.WriteString(ch, "\x04")
	if got := <-status; !bytes.Equal(got, []byte{0, 0, 0, 0}) {
		t.Errorf("exit-status %v, want 0", got)
	}
	io.Copy(io.Discard, ch)
}

func TestSessionRefusesCommandsPolitely(t *testing.T) {
	b := newBastion(t, permit(t, "", ""), nil)
	ch, reqs := b.session()
	status := exitStatus(reqs)
	ch.SendRequest("exec", true, ssh.Marshal(struct{ C string }{"rm -rf /"}))
	text, _ := io.ReadAll(ch.Stderr())
	if !strings.Contains(string(text), "runs no commands") {
		t.Errorf("stderr: %q", text)
	}
	if got := <-status; !bytes.Equal(got, []byte{0, 0, 0, 1}) {
		t.Errorf("exit-status %v, want 1", got)
	}

	ch, reqs = b.session()
	go ssh.DiscardRequests(reqs)
	if ok, _ := ch.SendRequest("subsystem", true, ssh.Marshal(struct{ C string }{"sftp"})); ok {
		t.Error("subsystem sftp: accepted")
	}
	for _, name := range []string{"x11-req", "auth-agent-req@openssh.com", "env", "nonsense"} {
		if ok, _ := ch.SendRequest(name, true, []byte("\xff\xff\xff\xff")); ok {
			t.Errorf("%s: accepted", name)
		}
	}
	ch.Close()
}

func TestMaxSessionsBoundsSessions(t *testing.T) {
	b := newBastion(t, permit(t, "", ""), func(c *channels.Config) {
		c.MaxSessions = 1
		c.Line = func(keyword string) string { return "sshd_config:" + keyword }
	})
	ch, _ := b.session()
	if _, _, err := b.client.OpenChannel("session", nil); err == nil {
		t.Error("a second session was opened")
	}
	if e := b.audit.wait(t, "channel.refused"); e["rule"] != "sshd_config:MaxSessions" {
		t.Errorf("on record is %v, want the line of MaxSessions", e)
	}
	ch.Close()
}

func TestSessionThatIsNotReadEndsWithItsConnection(t *testing.T) {
	b := newBastion(t, permit(t, "", ""), nil)
	ch, reqs := b.session()
	go ssh.DiscardRequests(reqs)
	// What the bastion would say to each of these fills the channel's window of 2 MiB. The clean-up waits for it.
	for range 60_000 {
		if _, err := ch.SendRequest("subsystem", false, ssh.Marshal(struct{ C string }{"sftp"})); err != nil {
			t.Fatal(err)
		}
	}
}

// dead is a session that is asked for by a client that is gone.
type dead struct{ ssh.NewChannel }

func (dead) ChannelType() string { return "session" }
func (dead) ExtraData() []byte   { return nil }

func (dead) Accept() (ssh.Channel, <-chan *ssh.Request, error) { return nil, nil, io.EOF }

func TestSessionOfAClientThatIsGoneIsClosedOnTheRecord(t *testing.T) {
	b := newBastion(t, permit(t, "*:*", ""), nil)
	b.conn().Serve(dead{})
	if e := b.audit.event("channel.closed"); e["type"] != "session" || e["result"] != "aborted" {
		t.Errorf("audit: %v", e)
	}
}
