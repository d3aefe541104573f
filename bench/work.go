package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
)

// smallFile is the size of one of the many files.
const smallFile = 4 << 10

// makeFiles makes the folder that FTP servers serve: "f0000" and so on, small, and a big one of each size. The caller must remove it.
func makeFiles(o options) (string, error) {
	folder, err := os.MkdirTemp("", "culvert-bench-")
	if err != nil {
		return "", err
	}
	errs := []error{os.Chmod(folder, 0o755)}
	for _, size := range []int64{o.file, o.farFile} {
		errs = append(errs, os.WriteFile(bigFile(folder, size), nil, 0o644), os.Truncate(bigFile(folder, size), size))
	}
	for i := range o.files {
		name := filepath.Join(folder, fmt.Sprintf("f%04d", i))
		errs = append(errs, os.WriteFile(name, bytes.Repeat([]byte{byte(i)}, smallFile), 0o644))
	}
	return folder, errors.Join(errs...)
}

func bigFile(folder string, size int64) string {
	return filepath.Join(folder, fmt.Sprintf("big%d", size))
}

// listener accepts connections of work that isn't FTP.
type listener struct {
	net.Listener
	at netip.AddrPort
}

// serveWork starts the servers that tunnels lead to: one echoes, one sends as many bytes as it is asked for, one counts what it gets.
func (s *scene) serveWork() (err error) {
	for _, l := range []struct {
		at    **listener
		serve func(c *net.TCPConn)
	}{{&s.echo, echo}, {&s.source, send}, {&s.sink, count}} {
		if *l.at, err = s.listen(l.serve); err != nil {
			return err
		}
		s.closers = append(s.closers, (*l.at).Close)
	}
	return nil
}

func (s *scene) listen(serve func(c *net.TCPConn)) (*listener, error) {
	var l *net.TCPListener
	var err error
	s.far(func() { l, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(s.at, 0))) })
	if err != nil {
		return nil, err
	}
	go func() { // ends with the listener; connections, with who makes them
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			go func() { defer c.Close(); serve(c) }()
		}
	}()
	return &listener{l, l.Addr().(*net.TCPAddr).AddrPort()}, nil
}

func echo(c *net.TCPConn) { _, _ = io.Copy(c, c) }

// endless is asked for by who breaks off himself.
const endless = math.MaxInt64

// block is what is read and written at once.
const block = 1 << 20

// send sends as many bytes as eight bytes ask for. If they are negative, it leaves the connection open after them.
func send(c *net.TCPConn) {
	var ask [8]byte
	if _, err := io.ReadFull(c, ask[:]); err != nil {
		return
	}
	left := int64(binary.BigEndian.Uint64(ask[:]))
	hold := left < 0
	if hold {
		left = -left
	}
	for b := make([]byte, block); left > 0; left -= int64(len(b)) {
		if _, err := c.Write(b[:min(left, int64(len(b)))]); err != nil {
			return
		}
	}
	if hold {
		_, _ = c.Read(ask[:]) // until the other side is tired of it
	}
}

// count answers with how many bytes came.
func count(c *net.TCPConn) {
	n, _ := io.Copy(struct{ io.Writer }{io.Discard}, c)
	fmt.Fprintf(c, "%020d", n)
}

// ask asks a contender's source for bytes.
func (c *contender) ask(size int64) (net.Conn, error) {
	conn, err := c.dial(c.source)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(binary.BigEndian.AppendUint64(nil, uint64(size))); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// download fetches so many bytes.
func (c *contender) download(size int64) error {
	conn, err := c.ask(size)
	if err != nil {
		return err
	}
	defer conn.Close()
	return exactly(conn, size)
}

// exactly reads so many bytes, and the end.
func exactly(r io.Reader, size int64) error {
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, make([]byte, block))
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes came of %d", n, size)
	}
	return err
}

// upload sends so many bytes, and hears that they came.
func (c *contender) upload(size int64) error {
	conn, err := c.dial(c.sink)
	if err != nil {
		return err
	}
	defer conn.Close()
	b := make([]byte, block)
	for left := size; left > 0; left -= int64(len(b)) {
		if _, err := conn.Write(b[:min(left, int64(len(b)))]); err != nil {
			return err
		}
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return err
	}
	got, err := io.ReadAll(conn)
	if want := fmt.Sprintf("%020d", size); err == nil && string(got) != want {
		err = fmt.Errorf("the sink has %q bytes, want %s", got, want)
	}
	return err
}
