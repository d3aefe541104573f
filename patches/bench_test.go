//go:build unix

package patches

import (
	"crypto/ed25519"
	"io"
	"net"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/relay"
)

// BenchmarkBulk moves MiBs from one end of an SSH connection over loopback to the other, both of them in this process, with what the relay
// reads and writes at once. Compare
//
//	go test -run '^$' -bench . ./patches
//	GOFLAGS=-modfile=$(patches/apply.sh) go test -run '^$' -bench . ./patches
func BenchmarkBulk(b *testing.B) {
	for _, cipher := range []string{ssh.CipherAES128GCM, ssh.CipherChaCha20Poly1305, ssh.CipherAES128CTR} {
		b.Run(cipher, func(b *testing.B) {
			client, server := connect(b, cipher)
			from, to := channel(b, client, server)
			const size = 1 << 20
			go func() {
				buf := make([]byte, 256<<10)
				for range b.N * size / len(buf) {
					if _, err := from.Write(buf); err != nil {
						return
					}
				}
				_ = from.CloseWrite()
			}()
			b.SetBytes(size)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			used := cpu(b)
			b.ResetTimer()
			buf := make([]byte, 256<<10)
			total := 0
			for {
				n, err := to.Read(buf)
				total += n
				if err == io.EOF {
					break
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			if total != b.N*size {
				b.Fatalf("%d bytes came of %d", total, b.N*size)
			}
			runtime.ReadMemStats(&after)
			b.ReportMetric((cpu(b)-used).Seconds()*1000/float64(b.N), "cpu-s/GiB")
			b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(b.N), "allocs/MiB")
			b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/float64(b.N)/1024, "KiB-alloc/MiB")
		})
	}
}

// BenchmarkOpen opens and closes channels, one after another.
func BenchmarkOpen(b *testing.B) {
	for _, at := range []int{1, 16} {
		b.Run(strconv.Itoa(at), func(b *testing.B) {
			client, server := connect(b, ssh.CipherAES128GCM)
			go func() {
				for nc := range server {
					go func() {
						ch, reqs, err := nc.Accept()
						if err != nil {
							return
						}
						go ssh.DiscardRequests(reqs)
						_, _ = io.Copy(io.Discard, ch)
						_ = ch.Close()
					}()
				}
			}()
			used := cpu(b)
			b.SetParallelism((at + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
			one := func() {
				ch, reqs, err := client.OpenChannel("test", nil)
				if err != nil {
					b.Error(err)
					return
				}
				_ = ch.Close()
				for range reqs {
				}
			}
			b.ResetTimer()
			if at == 1 {
				for range b.N {
					one()
				}
			} else {
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						one()
					}
				})
			}
			b.StopTimer()
			b.ReportMetric(float64((cpu(b)-used).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

func cpu(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// channel opens a channel, and returns both its ends.
func channel(tb testing.TB, client ssh.Conn, server <-chan ssh.NewChannel) (_, _ ssh.Channel) {
	accepted := make(chan ssh.Channel, 1)
	go func() {
		ch, reqs, err := (<-server).Accept()
		if err != nil {
			close(accepted)
			return
		}
		go ssh.DiscardRequests(reqs)
		accepted <- ch
	}()
	ch, reqs, err := client.OpenChannel("test", nil)
	if err != nil {
		tb.Fatal(err)
	}
	go ssh.DiscardRequests(reqs)
	return ch, <-accepted
}

// connect makes an SSH connection over loopback, as our programs do, and returns its client and the channels that come at its server.
func connect(tb testing.TB, cipher string) (ssh.Conn, <-chan ssh.NewChannel) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer listener.Close()
	signer, err := newSigner()
	if err != nil {
		tb.Fatal(err)
	}
	accepted := make(chan (<-chan ssh.NewChannel), 1)
	go func() {
		defer close(accepted)
		c, err := listener.Accept()
		if err != nil {
			return
		}
		config := &ssh.ServerConfig{NoClientAuth: true}
		config.AddHostKey(signer)
		socket := relay.NewSocket(c.(*net.TCPConn))
		conn, chans, reqs, err := ssh.NewServerConn(socket, config)
		if err != nil {
			return
		}
		socket.Under(conn)
		go ssh.DiscardRequests(reqs)
		accepted <- chans
	}()
	c, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	config := &ssh.ClientConfig{HostKeyCallback: ssh.FixedHostKey(signer.PublicKey())}
	config.Ciphers = []string{cipher}
	socket := relay.NewSocket(c.(*net.TCPConn))
	conn, chans, reqs, err := ssh.NewClientConn(socket, "", config)
	if err != nil {
		tb.Fatal(err)
	}
	socket.Under(conn)
	tb.Cleanup(func() { _ = conn.Close() })
	go ssh.DiscardRequests(reqs)
	go func() {
		for nc := range chans {
			_ = nc.Reject(ssh.Prohibited, "")
		}
	}()
	return conn, <-accepted
}

func newSigner() (ssh.Signer, error) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	return ssh.NewSignerFromKey(key)
}
