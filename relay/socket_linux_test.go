package relay_test

import (
	"crypto/ed25519"
	"fmt"
	"io"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/relay"
)

// It isn't parallel: the writes of others would count.
func TestPacketIsWrittenByOneSystemCall(t *testing.T) {
	for _, cipher := range []string{"aes128-gcm@openssh.com", "aes256-gcm@openssh.com"} {
		t.Run(cipher, func(t *testing.T) {
			const (
				packets = 60  // that fit the window: the peer reads, and writes, only after that
				most    = 1.3 // some are the Go runtime's
			)
			client := sshOverSockets(t, cipher)
			ch, reqs, err := client.OpenChannel("sink", nil)
			if err != nil {
				t.Fatal(err)
			}
			go ssh.DiscardRequests(reqs)
			before := relay.SystemWrites(t)
			if _, err := ch.Write(make([]byte, packets*32<<10)); err != nil {
				t.Fatal(err)
			}
			got := float64(relay.SystemWrites(t)-before) / packets
			if ok, err := ch.SendRequest("read", true, nil); err != nil || !ok {
				t.Fatal(ok, err)
			}
			if err := ch.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			said, err := io.ReadAll(ch)
			if want := fmt.Sprint(packets * 32 << 10); err != nil || string(said) != want {
				t.Fatalf("the peer has %q bytes, %v; want %s", said, err, want)
			}
			if got > most {
				t.Errorf("%.2f system calls for a packet, want %.1f at most", got, most)
			}
		})
	}
}

func TestPacketsOfEverySizeArriveByEveryCipher(t *testing.T) {
	t.Parallel()
	for _, cipher := range ssh.SupportedAlgorithms().Ciphers {
		t.Run(cipher, func(t *testing.T) {
			t.Parallel()
			client := sshOverSockets(t, cipher)
			ch, reqs, err := client.OpenChannel("sink", nil)
			if err != nil {
				t.Fatal(err)
			}
			go ssh.DiscardRequests(reqs)
			total := 0
			for size := 4000; size < 4200; size++ { // around what comes at once
				if _, err := ch.Write(make([]byte, size)); err != nil {
					t.Fatal(err)
				}
				// The answer shows that nothing was kept back.
				if ok, err := ch.SendRequest("there?", true, nil); err != nil || !ok {
					t.Fatalf("after %d bytes: %v, %v", size, ok, err)
				}
				total += size
			}
			if err := ch.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if said, err := io.ReadAll(ch); err != nil || string(said) != fmt.Sprint(total) {
				t.Errorf("the peer has %q bytes, %v; want %d", said, err, total)
			}
		})
	}
}

// sshOverSockets returns an SSH connection, both ends of which are on a Socket. The peer counts what comes on a channel, and says how many bytes
// there were; the first request has it begin to read, and each is answered when all that was sent before has come.
func sshOverSockets(t *testing.T, cipher string) ssh.Conn {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	left, right := socketPair(t)
	config := ssh.Config{Ciphers: []string{cipher}}
	go func() {
		cfg := &ssh.ServerConfig{Config: config, NoClientAuth: true}
		cfg.AddHostKey(signer)
		socket := relay.NewSocket(right)
		conn, channels, reqs, err := ssh.NewServerConn(socket, cfg)
		if err != nil {
			return // and so has the client
		}
		socket.Under(conn.Conn)
		go ssh.DiscardRequests(reqs)
		for nc := range channels {
			ch, reqs, err := nc.Accept()
			if err != nil {
				return
			}
			asked := make(chan struct{})
			go func() {
				var once sync.Once
				defer once.Do(func() { close(asked) })
				for r := range reqs {
					once.Do(func() { close(asked) })
					_ = r.Reply(true, nil)
				}
			}()
			go func() {
				<-asked
				n, _ := io.Copy(io.Discard, ch)
				fmt.Fprint(ch, n)
				ch.Close()
			}()
		}
	}()
	socket := relay.NewSocket(left)
	conn, channels, reqs, err := ssh.NewClientConn(socket, "", &ssh.ClientConfig{Config: config, HostKeyCallback: ssh.FixedHostKey(signer.PublicKey())})
	if err != nil {
		t.Fatal(err)
	}
	socket.Under(conn)
	t.Cleanup(func() { conn.Close() })
	go ssh.DiscardRequests(reqs)
	go func() {
		for nc := range channels {
			_ = nc.Reject(ssh.Prohibited, "")
		}
	}()
	return conn
}
