package relay_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/culvert-ssh/culvert/relay"
)

// uploading is a Join of a client that has sent file and closed, and a server that has read nothing yet.
func uploading(t *testing.T, file string) (server *net.TCPConn, joined chan error) {
	t.Helper()
	nearClient, client := tcpPair(t)
	nearServer, server := tcpPair(t)
	joined = make(chan error, 1)
	go func() {
		joined <- relay.Join(t.Context(), relay.WithLastWord(nearClient), relay.WithLastWord(nearServer), nil)
	}()
	if _, err := io.WriteString(client, file); err != nil {
		t.Fatal(err)
	}
	client.Close()
	return server, joined
}

// The server speaks to a client that has uploaded and is gone, more than once: the first word is answered by the reset.
func TestLastWordToSomebodyWhoIsGone(t *testing.T) {
	server, joined := uploading(t, "a file")
	if got, err := io.ReadAll(server); err != nil || string(got) != "a file" {
		t.Fatalf("the server gets %q, %v; want the file and its end", got, err)
	}
	for range 100 {
		if _, err := io.WriteString(server, "last word"); err != nil {
			t.Fatalf("the server: %v", err)
		}
	}
	server.Close()
	if err := <-joined; err != nil {
		t.Errorf("Join: %v", err)
	}
}

// What is still on its way when the reset comes is whole, or ends in a reset as well.
func TestLastWordMakesNoEndOfWhatIsCut(t *testing.T) {
	file := strings.Repeat("x", 256<<10)
	for range 50 {
		server, joined := uploading(t, file)
		got := make([]byte, len(file)+1)
		at := 0
		var err error
		for err == nil {
			if _, err = io.WriteString(server, "last word"); err != nil {
				break // which tells the reset; a Read would not do it again
			}
			var n int
			n, err = server.Read(got[at:min(at+50_000, len(got))])
			at += n
		}
		if whole := at == len(file); err == io.EOF && !whole || err != io.EOF && !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("%d bytes of %d, and then %v", at, len(file), err)
		}
		server.Close()
		<-joined
	}
}

func TestLastWordToSomebodyWhoWasCutOff(t *testing.T) {
	nearClient, client := tcpPair(t)
	nearServer, server := tcpPair(t)
	joined := make(chan error, 1)
	go func() {
		joined <- relay.Join(t.Context(), relay.WithLastWord(nearClient), relay.WithLastWord(nearServer), nil)
	}()
	io.WriteString(client, "half a file")
	if _, err := io.ReadFull(server, make([]byte, len("half a file"))); err != nil {
		t.Fatal(err)
	}
	client.SetLinger(0)
	client.Close()
	if _, err := server.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the server sees %v, want a reset", err)
	}
	if err := <-joined; err == nil {
		t.Error("Join: no error")
	}
}
