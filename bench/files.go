package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/jlaffaye/ftp"
)

// fetchMany fetches small files over one control connection with one FTP client for all contenders, and returns how long it took. On loopback it
// isn't curl: without a proxy between, Debian 12's (7.88.1) lies idle for up to a second before many a data connection, whatever the server.
func (s *scene) fetchMany(ctx context.Context, c *contender, n int) (time.Duration, error) {
	begin := time.Now()
	client, err := ftp.Dial(c.ftp.String(), ftp.DialWithContext(ctx), ftp.DialWithDialFunc(c.dialFTP))
	if err != nil {
		return 0, err
	}
	defer func() { _ = client.Quit() }()
	if err := client.Login(s.ftp.User, s.ftp.Password); err != nil {
		return 0, err
	}
	for i := range n {
		r, err := client.Retr(fmt.Sprintf("f%04d", i))
		if err != nil {
			return 0, err
		}
		if err := errors.Join(exactly(r, smallFile), r.Close()); err != nil {
			return 0, err
		}
	}
	return time.Since(begin), nil
}

// curlMany does the same with curl.
func (s *scene) curlMany(ctx context.Context, c *contender, n int) (time.Duration, error) {
	var config bytes.Buffer
	for i := range n {
		fmt.Fprintf(&config, "url = \"ftp://%s/f%04d\"\n", c.ftp, i)
	}
	return s.curl(ctx, c, config.Bytes(), int64(n*smallFile))
}

// curlBig fetches a big file with curl.
func (s *scene) curlBig(ctx context.Context, c *contender, size int64) (time.Duration, error) {
	return s.curl(ctx, c, fmt.Appendf(nil, "url = \"ftp://%s/%s\"\n", c.ftp, bigFile("", size)), size)
}

// curl fetches what config lists, over one control connection, and returns how long it took.
func (s *scene) curl(ctx context.Context, c *contender, config []byte, size int64) (time.Duration, error) {
	args := []string{"--disable", "--silent", "--show-error", "--fail-early", "--user", s.ftp.User + ":" + s.ftp.Password, "--config", "-"}
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
	return time.Since(begin), nil
}

// counter counts the bytes written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// tripsPerFile returns how many round trips each file takes after the first, which pays for the login as well.
func (s *scene) tripsPerFile(n int, fetch func(n int) (time.Duration, error)) ([]float64, error) {
	first, err := fetch(1)
	if err != nil {
		return nil, err
	}
	all, err := fetch(1 + n)
	return []float64{float64(all-first) / float64(n) / float64(s.rtt)}, err
}
