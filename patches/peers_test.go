//go:build unix

package patches

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
)

// peer tells the test binary that it is the server of an SSH connection over descriptor 3.
const peer = "CULVERT_PATCHES_PEER"

func TestMain(m *testing.M) {
	if os.Getenv(peer) != "" {
		if err := echo(); err != nil {
			fmt.Fprintln(os.Stderr, "peer:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

var ciphers = []string{
	ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherChaCha20Poly1305, ssh.CipherAES128CTR, ssh.InsecureCipherAES128CBC,
}

// TestPatchedAndStockUnderstandEachOther has x/crypto/ssh with our patches and without them speak to each other, as client and as server: several
// channels at once, or one piece after another with new keys all the time; pieces of all sizes, both streams, requests. What comes back must be
// what was sent.
func TestPatchedAndStockUnderstandEachOther(t *testing.T) {
	modfile, err := apply(t, all(t)...)
	if err != nil {
		t.Fatal(err)
	}
	stock, err := apply(t)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	binaries := map[string]string{"patched": modfile, "stock": stock}
	for name, modfile := range binaries {
		binaries[name] = filepath.Join(folder, name)
		if out, err := exec.Command("go", "test", "-c", "-modfile="+modfile, "-o", binaries[name], ".").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for _, pair := range [][2]string{{"patched", "stock"}, {"stock", "patched"}, {"patched", "patched"}} {
		for seed, cipher := range ciphers {
			t.Run(pair[0]+" to "+pair[1]+", "+cipher, func(t *testing.T) {
				t.Parallel()
				cmd := exec.Command(binaries[pair[0]], "-test.run", "^TestTalk$")
				cmd.Env = append(os.Environ(), talkTo+"="+binaries[pair[1]], talkCipher+"="+cipher, talkSeed+"="+strconv.Itoa(seed))
				if !slices.Contains(pair[:], "stock") {
					cmd.Env = append(cmd.Env, talkBusy+"=1")
				}
				if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS") {
					t.Errorf("%v\n%s", err, out)
				}
			})
		}
	}
}

const (
	talkTo     = "CULVERT_PATCHES_SERVER" // the binary whose server it talks to
	talkCipher = "CULVERT_PATCHES_CIPHER"
	talkSeed   = "CULVERT_PATCHES_SEED"
	talkBusy   = "CULVERT_PATCHES_BUSY" // if set, new keys on several channels at once: too much for x/crypto/ssh without 30-replies.patch
)

// TestTalk is the client's side. Alone it talks to a server like itself.
func TestTalk(t *testing.T) {
	server, cipher := os.Getenv(talkTo), os.Getenv(talkCipher)
	if server == "" {
		server, cipher = os.Args[0], ssh.CipherAES128GCM
	}
	seed, _ := strconv.ParseUint(os.Getenv(talkSeed), 10, 64)
	t.Logf("seed %d", seed)
	for _, rekey := range []uint64{0, 200_000} {
		conn := dialProcess(t, server, cipher, rekey)
		channels := 4
		if rekey > 0 && os.Getenv(talkBusy) == "" {
			channels = 1
		}
		var wg sync.WaitGroup
		for i := range channels {
			wg.Go(func() {
				if err := talk(conn, rand.New(rand.NewPCG(seed, uint64(i))), channels == 1); err != nil {
					t.Errorf("channel %d of %d: %v", i, channels, err)
				}
			})
		}
		wg.Wait()
	}
}

// dialProcess starts a server, and connects to it.
func dialProcess(t *testing.T, binary, cipher string, rekey uint64) ssh.Conn {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	c, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	file, err := accepted.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), peer+"=1")
	cmd.ExtraFiles = []*os.File{file}
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = file.Close(), accepted.Close()

	config := &ssh.ClientConfig{HostKeyCallback: ssh.InsecureIgnoreHostKey()}
	config.Ciphers, config.RekeyThreshold = []string{cipher}, rekey
	conn, chans, reqs, err := ssh.NewClientConn(c, "", config)
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(reqs)
	go func() {
		for nc := range chans {
			_ = nc.Reject(ssh.Prohibited, "")
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("server: %v\n%s", err, said.Bytes())
		}
	})
	return conn
}

// talk sends about half a megabyte on a channel, and compares what comes back on both of its streams: at the end, or each piece before the next.
func talk(conn ssh.Conn, r *rand.Rand, each bool) error {
	ch, reqs, err := conn.OpenChannel("echo", nil)
	if err != nil {
		return err
	}
	go ssh.DiscardRequests(reqs)
	source, sent := rand.NewChaCha8([32]byte{byte(r.Uint32())}), sha256.New()
	var wg sync.WaitGroup
	got := []*back{newBack(ch), newBack(ch.Stderr())}
	for _, b := range got {
		wg.Go(b.read)
	}
	for total := 0; total < 1<<19; {
		piece := make([]byte, size(r))
		_, _ = source.Read(piece)
		total += len(piece)
		sent.Write(piece)
		if _, err := ch.Write(piece); err != nil {
			return err
		}
		if r.IntN(8) == 0 {
			if ok, err := ch.SendRequest("echo", true, piece[:min(len(piece), 60<<10)]); !ok || err != nil {
				return fmt.Errorf("request: %v, %w", ok, err)
			}
		}
		for _, b := range got {
			for each && b.total < total {
				n, ok := <-b.progress
				if !ok {
					return fmt.Errorf("%d bytes came back of %d", b.total, total)
				}
				b.total += n
			}
		}
	}
	if err := ch.CloseWrite(); err != nil {
		return err
	}
	for _, b := range got {
		for range b.progress {
		}
	}
	wg.Wait()
	for _, b := range got {
		if want := sent.Sum(nil); !bytes.Equal(b.hash.Sum(nil), want) {
			return fmt.Errorf("what came back is %x, want %x", b.hash.Sum(nil), want)
		}
	}
	if err := ch.Close(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// back is one of the streams that come back.
type back struct {
	from     io.Reader
	hash     hash.Hash
	progress chan int // bytes that came
	total    int      // owned by who receives from progress
}

func newBack(from io.Reader) *back {
	return &back{from: from, hash: sha256.New(), progress: make(chan int, 1<<10)}
}

func (b *back) read() {
	defer close(b.progress)
	buf := make([]byte, 100_000)
	for {
		n, err := b.from.Read(buf)
		b.hash.Write(buf[:n])
		b.progress <- n
		if err != nil {
			return
		}
	}
}

// size is one that a packet has, or that is about that of several.
func size(r *rand.Rand) int {
	switch r.IntN(4) {
	case 0:
		return 1 + r.IntN(100)
	case 1:
		return 16<<10 - 32 + r.IntN(64)
	case 2:
		return 32<<10 - 32 + r.IntN(64)
	}
	return 1 + r.IntN(150<<10)
}

// echo serves one SSH connection: what comes on a channel goes back on both of its streams.
func echo() error {
	c, err := net.FileConn(os.NewFile(3, "connection"))
	if err != nil {
		return err
	}
	signer, err := newSigner()
	if err != nil {
		return err
	}
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.Ciphers = ciphers
	config.AddHostKey(signer)
	_, chans, reqs, err := ssh.NewServerConn(c, config)
	if err != nil {
		return err
	}
	go ssh.DiscardRequests(reqs)
	var wg sync.WaitGroup
	for nc := range chans {
		ch, reqs, err := nc.Accept()
		if err != nil {
			return err
		}
		wg.Go(func() {
			for r := range reqs {
				_ = r.Reply(r.Type == "echo", nil)
			}
		})
		wg.Go(func() {
			_, _ = io.CopyBuffer(io.MultiWriter(ch, ch.Stderr()), struct{ io.Reader }{ch}, make([]byte, 50_000))
			_, _ = ch.CloseWrite(), ch.Close()
		})
	}
	wg.Wait()
	return nil
}
