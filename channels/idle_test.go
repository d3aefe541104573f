package channels_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/channels"
)

func TestIdleChannelIsClosedOnTheRecord(t *testing.T) {
	to := echo(t, "127.0.0.1:0")
	b := newBastion(t, permit(t, "*:*", ""), func(c *channels.Config) {
		c.ChannelTimeouts = []channels.Timeout{{Type: "direct-*", After: 50 * time.Millisecond}, {Type: "session:shell", After: 50 * time.Millisecond}}
	})
	session, _ := b.session() // in which nothing runs
	ch := b.mustOpen("127.0.0.1", to.Port())
	if n, err := ch.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read %d, %v", n, err)
	}
	ch.Close()
	e := b.audit.wait(t, "channel.closed")
	if e["type"] != "direct-tcpip" || e["result"] != "aborted" || e["reason"] != "it moved no byte in 50ms (ChannelTimeout direct-tcpip)" {
		t.Errorf("audit: %v", e)
	}
	shell, _ := b.session()
	shell.SendRequest("shell", true, nil)
	text, _ := io.ReadAll(shell)
	if !strings.Contains(string(text), "until you end it") {
		t.Errorf("the shell says %q", text)
	}
	shell.Close()
	if e := b.audit.waitFor(t, "channel.closed", "c1-3"); e["type"] != "session" || e["result"] != "aborted" {
		t.Errorf("audit: %v", e)
	}
	if ok, err := session.SendRequest("signal", true, nil); !ok || err != nil {
		t.Errorf("the other session has ended: %v, %v", ok, err)
	}
	session.Close()
}

func TestUnusedConnectionEnds(t *testing.T) {
	to := echo(t, "127.0.0.1:0")
	why := make(chan error, 2)
	b := newBastion(t, permit(t, "*:*", ""), func(c *channels.Config) {
		listens("127.0.0.1")(c)
		c.UnusedConnectionTimeout = 300 * time.Millisecond
		conn := c.SSH
		c.End = func(reason error) { why <- reason; conn.Close() }
	})
	b.mustForward("localhost") // which is no channel
	first, second := b.mustOpen("127.0.0.1", to.Port()), b.mustOpen("127.0.0.1", to.Port())
	for _, ch := range []io.Closer{first, second} {
		select {
		case err := <-why:
			t.Fatalf("ended with a channel open: %v", err)
		case <-time.After(time.Second): // an absence takes its time
		}
		ch.(interface{ CloseWrite() error }).CloseWrite()
		io.ReadAll(ch.(io.Reader))
		ch.Close()
	}
	if err := <-why; err != channels.ErrUnused {
		t.Errorf("ended for %v", err)
	}
	b.client.Wait()
}
