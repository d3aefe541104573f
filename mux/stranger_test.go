//go:build unix

package mux

import (
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// stranger answers at a control socket with words of its own, and then reads until the other side has gone.
func stranger(t *testing.T, says []byte) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "ctl")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			_, err = c.Write(says)
			for err == nil {
				_, err = readMessage(c)
			}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return path
}

func message(m []byte) []byte {
	var b strings.Builder
	_ = writeMessage(&b, m) // can't fail
	return []byte(b.String())
}

func TestWhatIsNoMasterIsNotSpokenTo(t *testing.T) {
	for name, says := range map[string][]byte{
		"another protocol": []byte("SSH-2.0-OpenSSH_9.2p1\r\n"),
		"another version":  message(ssh.Marshal(hello{Kind: msgHello, Version: 5})),
		"another word":     message(ssh.Marshal(hello{Kind: sayOK, Version: protocolVersion})),
		"too short":        message([]byte{0, 0, 0, 1}),
	} {
		t.Run(name, func(t *testing.T) {
			m, err := Dial(t.Context(), stranger(t, says))
			if err == nil {
				m.Close()
				t.Error("it was taken for a master")
			}
		})
	}
}

func TestNobodyThere(t *testing.T) {
	m, err := Dial(t.Context(), filepath.Join(t.TempDir(), "none"))
	if err == nil {
		m.Close()
	}
	if !errors.Is(err, errNoMaster) || !strings.Contains(err.Error(), "ssh -M -S ") {
		t.Errorf("got %v, want a word about how to begin a master", err)
	}
}

// TestMasterThatTalksNonsenseIsGone: nothing that it says can be believed any more.
func TestMasterThatTalksNonsenseIsGone(t *testing.T) {
	greeting := message(ssh.Marshal(hello{Kind: msgHello, Version: protocolVersion}))
	m, err := Dial(t.Context(), stranger(t, append(greeting, message([]byte("nonsense"))...)))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	wait(t, "end", m.Done())
}

// TestAnswerBeforeTheEndCounts has a master answer and end the connection before anybody looks, as it does after a small file.
func TestAnswerBeforeTheEndCounts(t *testing.T) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "ctl"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 50 {
		near, err := net.DialUnix("unix", nil, l.Addr().(*net.UnixAddr))
		if err != nil {
			t.Fatal(err)
		}
		far, err := l.AcceptUnix()
		if err != nil {
			t.Fatal(err)
		}
		_, err = far.Write(message(encode(sayOpened, 7, []byte{0, 0, 0, 2})))
		if err := errors.Join(err, far.Close()); err != nil {
			t.Fatal(err)
		}
		c := &conn{UnixConn: near, answers: make(chan answer, maxUnread), gone: make(chan struct{}), id: 7}
		c.listen()
		_ = near.Close()
		if a, err := c.await(nil); err != nil || a.kind != sayOpened {
			t.Fatalf("got %+v, %v, want the answer", a, err)
		}
		if _, err := c.await(nil); !errors.Is(err, errGone) {
			t.Fatalf("got %v, want that the master has ended the connection", err)
		}
	}
}
