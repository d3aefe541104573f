package channels_test

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/channels"
)

// heap returns how many bytes are alive.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // what the first has only made ready
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// flood writes p over and over, up to 128 KiB of it, until nobody takes any more for a while or the connection has ended.
func flood(c net.Conn, p []byte) {
	for range 128 << 10 / len(p) {
		_ = c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond)) // fails only on a closed connection
		if _, err := c.Write(p); err != nil {
			return
		}
	}
}

// TestMemoryOfControlChannelsIsBounded has the servers and the clients of as many control channels as there may be say what costs most to
// hold. What a reply may be at most is kept of each; what a client says ahead lies in the window of its SSH channel, which is 2 MiB.
func TestMemoryOfControlChannelsIsBounded(t *testing.T) {
	const (
		controls = 64
		perReply = 1 << 20 // 256 KiB, as lines that each have a head of 16 bytes, in slices that have doubled
		perHeld  = 7 << 19 // the window in slices that have doubled, and what the machine holds
	)
	nearly := "211-x\r\n" + strings.Repeat(strings.Repeat("a", 62)+"\r\n", 4090)
	for name, hostile := range map[string]struct {
		most           uint64
		server, client string // said after the greeting
		once           bool   // and not over and over
	}{
		"a reply that is nearly too long":         {perReply, nearly, "", true},
		"a reply without an end, in lines":        {perReply, "211-x\r\n", "", false},
		"a reply without an end, in empty lines":  {perReply, "211-x\r\n" + strings.Repeat("\r\n", 4000), "", false},
		"a line without an end":                   {perReply, "x", "", false},
		"replies that nobody asked for":           {perReply, "200 ok\r\n", "", false},
		"lines that are no replies":               {perReply, "x\r\n", "", false},
		"Telnet":                                  {perReply, "\xff\xf1", "", false},
		"commands that wait for a reply":          {perHeld, "", "NOOP\r\n", false},
		"commands that wait for PASV":             {perHeld, "", "PASV\r\n", false},
		"commands that are answered here at once": {perHeld, "", "AUTH TLS\r\n", false},
		"a command without an end":                {perHeld, "", "x", false},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			at := l.Addr().(*net.TCPAddr).AddrPort()
			b := newBastion(t, permit(t, "ftp/"+at.String(), ""), func(c *channels.Config) { c.MaxChannels = controls })
			before := heap()
			var flooding, writing sync.WaitGroup
			for range controls {
				ch := b.mustOpen("127.0.0.1", at.Port())
				go io.Copy(io.Discard, ch)
				c, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if _, err := io.WriteString(c, "220 ready\r\n"); err != nil {
					t.Fatal(err)
				}
				if hostile.server != "" {
					flooding.Go(func() {
						if hostile.once {
							io.WriteString(c, hostile.server)
							return
						}
						flood(c, bytes.Repeat([]byte(hostile.server), 1+4096/len(hostile.server)))
					})
				}
				if hostile.client != "" {
					p := bytes.Repeat([]byte(hostile.client), 4096/len(hostile.client))
					writing.Go(func() { // until the window is full, and then until the end
						for range 3 << 20 / len(p) {
							if _, err := ch.Write(p); err != nil {
								return
							}
						}
					})
				}
			}
			flooding.Wait()
			var grown uint64
			for range 10 { // what was written may be on its way
				grown = max(grown, max(heap(), before)-before)
				time.Sleep(30 * time.Millisecond)
			}
			t.Logf("%d KiB for each of %d control channels", grown>>10/controls, controls)
			if grown > controls*hostile.most {
				t.Errorf("%d KiB for each control channel, want no more than %d", grown>>10/controls, hostile.most>>10)
			}
			b.client.Close()
			writing.Wait()
		})
	}
}
