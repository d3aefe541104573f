package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/jlaffaye/ftp"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// smallFile is the size of one of the many files.
const smallFile = 4 << 10

// work is what every contender is given to do.
type work struct {
	o                  options
	folder             string
	echo, source, sink *listener
	ftp                *peers.FTP
}

func newWork(o options) (w *work, err error) {
	w = &work{o: o}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.folder, err = os.MkdirTemp("", "culvert-bench-"); err != nil {
		return nil, err
	}
	if err := os.Chmod(w.folder, 0o755); err != nil {
		return nil, err
	}
	if err := w.makeFiles(); err != nil {
		return nil, err
	}
	if w.ftp, err = peers.StartFTP(peers.VSFTPD, peers.FTPConfig{Root: w.folder}); err != nil {
		return nil, err
	}
	block := make([]byte, 1<<20)
	serve := func(f func(c *net.TCPConn)) (l *listener) {
		if err == nil {
			l, err = listen(f)
		}
		return l
	}
	w.echo = serve(func(c *net.TCPConn) { _, _ = io.Copy(c, c) })
	w.source = serve(func(c *net.TCPConn) {
		for left := o.bulk; left > 0; left -= int64(len(block)) {
			if _, err := c.Write(block[:min(left, int64(len(block)))]); err != nil {
				return
			}
		}
	})
	w.sink = serve(func(c *net.TCPConn) {
		n, _ := io.Copy(struct{ io.Writer }{io.Discard}, c)
		fmt.Fprintf(c, "%020d", n)
	})
	return w, err
}

func (w *work) makeFiles() error {
	big, err := os.Create(filepath.Join(w.folder, "big"))
	if err != nil {
		return err
	}
	if err := errors.Join(big.Truncate(w.o.bulk), big.Close()); err != nil {
		return err
	}
	for i := range w.o.files {
		name := filepath.Join(w.folder, fmt.Sprintf("f%04d", i))
		if err := os.WriteFile(name, bytes.Repeat([]byte{byte(i)}, smallFile), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) close() {
	for _, l := range []*listener{w.echo, w.source, w.sink} {
		if l != nil {
			l.Close()
		}
	}
	if w.ftp != nil {
		_ = w.ftp.Close()
	}
	_ = os.RemoveAll(w.folder)
}

type listener struct {
	net.Listener
	at netip.AddrPort
}

func listen(serve func(c *net.TCPConn)) (*listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); serve(c.(*net.TCPConn)) }()
		}
	}()
	return &listener{l, l.Addr().(*net.TCPAddr).AddrPort()}, nil
}

func (w *work) measurements() []measurement {
	forwards := func(c *contender) bool { return c.forward }
	bulk := func(what string, f func(c *contender) error) measurement {
		return measurement{
			rows: []row{
				{name: "bulk " + what + ", one stream", unit: "MB/s"},
				{name: "CPU of the client, " + what, unit: "s/GB", lessBetter: true},
				{name: "CPU of the server, " + what, unit: "s/GB", lessBetter: true},
			},
			run: func(_ context.Context, c *contender) ([]float64, error) { return w.bulk(c, f) },
			who: forwards,
		}
	}
	one := func(r row, f func(context.Context, *contender) (float64, error), who func(*contender) bool) measurement {
		return measurement{rows: []row{r}, who: who, run: func(ctx context.Context, c *contender) ([]float64, error) {
			v, err := f(ctx, c)
			return []float64{v}, err
		}}
	}
	many := fmt.Sprintf("%d FTP files of %d KiB", w.o.files, smallFile>>10)
	return []measurement{
		bulk("download", w.download),
		bulk("upload", w.upload),
		one(row{"channel opens, one after another", "1/s", false}, w.openMany, forwards),
		one(row{many, "s", true}, w.manyFiles, nil),
		one(row{many + ", curl by SOCKS", "s", true}, w.manyFilesByCurl, func(c *contender) bool { return c.socks.IsValid() }),
		one(row{fmt.Sprintf("one FTP file of %d MiB, curl", w.o.bulk>>20), "s", true}, w.bigFile, nil),
	}
}

// bulk returns the rate in MB/s, and the CPU seconds a GB of client and server.
func (w *work) bulk(c *contender, f func(c *contender) error) ([]float64, error) {
	names := append(c.client, c.server)
	before, err := cpuOf(names...)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := f(c); err != nil {
		return nil, err
	}
	took := time.Since(begin)
	after, err := cpuOf(names...)
	if err != nil {
		return nil, err
	}
	gb := float64(w.o.bulk) / 1e9
	var client float64
	for i := range c.client {
		client += after[i] - before[i]
	}
	last := len(c.client)
	return []float64{gb * 1e3 / took.Seconds(), client / gb, (after[last] - before[last]) / gb}, nil
}

func (w *work) download(c *contender) error {
	conn, err := c.dial(c.source)
	if err != nil {
		return err
	}
	defer conn.Close()
	n, err := io.Copy(struct{ io.Writer }{io.Discard}, conn)
	if err == nil && n != w.o.bulk {
		err = fmt.Errorf("%d bytes came of %d", n, w.o.bulk)
	}
	return err
}

func (w *work) upload(c *contender) error {
	conn, err := c.dial(c.sink)
	if err != nil {
		return err
	}
	defer conn.Close()
	block := make([]byte, 1<<20)
	for left := w.o.bulk; left > 0; left -= int64(len(block)) {
		if _, err := conn.Write(block[:min(left, int64(len(block)))]); err != nil {
			return err
		}
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	got, err := io.ReadAll(conn)
	if want := fmt.Sprintf("%020d", w.o.bulk); err == nil && string(got) != want {
		err = fmt.Errorf("the sink has %q bytes, want %s", got, want)
	}
	return err
}

// openMany opens channels one after another, each with a byte there and back.
func (w *work) openMany(_ context.Context, c *contender) (float64, error) {
	begin := time.Now()
	for range w.o.opens {
		conn, err := c.dial(c.echo)
		if err != nil {
			return 0, err
		}
		one := []byte{1}
		if _, err = conn.Write(one); err == nil {
			_, err = io.ReadFull(conn, one)
		}
		if err := errors.Join(err, conn.Close()); err != nil {
			return 0, err
		}
	}
	return float64(w.o.opens) / time.Since(begin).Seconds(), nil
}

// manyFiles fetches small files over one control connection with one FTP client for all contenders. It isn't curl: without a proxy
// between, Debian 12's (7.88.1) lies idle for up to a second before many a data connection, whatever the server.
func (w *work) manyFiles(ctx context.Context, c *contender) (float64, error) {
	begin := time.Now()
	client, err := ftp.Dial(c.ftp.String(), ftp.DialWithContext(ctx), ftp.DialWithDialFunc(c.dialFTP))
	if err != nil {
		return 0, err
	}
	defer func() { _ = client.Quit() }()
	if err := client.Login(w.ftp.User, w.ftp.Password); err != nil {
		return 0, err
	}
	for i := range w.o.files {
		r, err := client.Retr(fmt.Sprintf("f%04d", i))
		if err != nil {
			return 0, err
		}
		n, err := io.Copy(io.Discard, r)
		if err == nil && n != smallFile {
			err = fmt.Errorf("%d bytes came of %d", n, smallFile)
		}
		if err := errors.Join(err, r.Close()); err != nil {
			return 0, err
		}
	}
	return time.Since(begin).Seconds(), nil
}

func (w *work) manyFilesByCurl(ctx context.Context, c *contender) (float64, error) {
	var config bytes.Buffer
	for i := range w.o.files {
		fmt.Fprintf(&config, "url = \"ftp://%s/f%04d\"\n", c.ftp, i)
	}
	return w.curl(ctx, c, config.Bytes(), int64(w.o.files*smallFile))
}

func (w *work) bigFile(ctx context.Context, c *contender) (float64, error) {
	return w.curl(ctx, c, fmt.Appendf(nil, "url = \"ftp://%s/big\"\n", c.ftp), w.o.bulk)
}

// curl fetches what config lists, over one control connection, and returns how many seconds it took.
func (w *work) curl(ctx context.Context, c *contender, config []byte, size int64) (float64, error) {
	args := []string{"--disable", "--silent", "--show-error", "--fail-early", "--user", w.ftp.User + ":" + w.ftp.Password, "--config", "-"}
	if c.socks.IsValid() {
		args = append(args, "--socks5-hostname", c.socks.String())
	}
	cmd := exec.CommandContext(ctx, "curl", args...)
	var count counter
	var complaint bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(config), &count, &complaint
	begin := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("curl: %w: %s", err, complaint.Bytes())
	}
	if int64(count) != size {
		return 0, fmt.Errorf("curl: %d bytes came of %d", count, size)
	}
	return time.Since(begin).Seconds(), nil
}

// counter counts the bytes written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
