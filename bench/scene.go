package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/culvert-ssh/culvert/internal/lan"
	"github.com/culvert-ssh/culvert/internal/peers"
	"github.com/culvert-ssh/culvert/internal/stage"
)

// scene is where something is measured: the servers that all contenders go to, and how far away they are.
type scene struct {
	rtt    time.Duration // 0 on loopback
	at     netip.Addr    // where the servers are
	far    func(f func())
	stage  *stage.Stage
	key    peers.Key
	sshd   *peers.SSHD
	master string // the control socket of the first ssh
	daemon *stage.Daemon
	ftp    *peers.FTP

	echo, source, sink *listener

	closers []func() error // in the order in which things came
}

// newScene starts the servers, with the files of a folder for those that speak FTP. The caller must close it.
func newScene(o options, rtt time.Duration, files string) (*scene, error) {
	s := &scene{rtt: rtt, at: netip.MustParseAddr("127.0.0.1"), far: func(f func()) { f() }}
	if err := s.open(o, files); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close ends all that was started in the scene, last things first.
func (s *scene) Close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	s.closers = nil
	return errors.Join(errs...)
}

func (s *scene) open(o options, files string) (err error) {
	if s.rtt > 0 {
		err = s.moveAway()
	} else {
		err = s.stay()
	}
	if err != nil {
		return err
	}
	if err := s.serveWork(); err != nil {
		return err
	}
	if s.ftp, err = peers.StartFTP(peers.VSFTPD, peers.FTPConfig{Root: files, Addr: s.at, On: s.far}); err != nil {
		return err
	}
	s.closers = append(s.closers, s.ftp.Close)
	return s.serveSSH(o.bin)
}

// stay has the loopback interface brought up.
func (s *scene) stay() error {
	here, err := lan.Here()
	if err != nil {
		return err
	}
	return here.Close()
}

// moveAway puts the servers at the far end of a line.
func (s *scene) moveAway() error {
	l, err := newLine(lan.Way{Delay: s.rtt / 2})
	if err != nil {
		return err
	}
	s.closers = append(s.closers, l.Close)
	s.at = netip.MustParseAddr(farAddr)
	s.far = func(f func()) {
		if err := l.far.Do(f); err != nil {
			panic(err) // it was there a moment ago
		}
	}
	return nil
}

// serveSSH starts sshd and culvertd, who know the same key.
func (s *scene) serveSSH(bin string) (err error) {
	if s.stage, err = stage.New(bin); err != nil {
		return err
	}
	s.closers = append(s.closers, s.stage.Close)
	if s.key, err = peers.NewKey(s.stage.Folder, "bench"); err != nil {
		return err
	}
	if s.sshd, err = peers.StartSSHD(peers.SSHDConfig{AuthorizedKeys: s.key.Authorized(), Addr: s.at, On: s.far}); err != nil {
		return err
	}
	s.closers = append(s.closers, s.sshd.Close)
	if err := os.WriteFile(s.stage.Path("keys/"+stage.User), s.key.Authorized(), 0o600); err != nil {
		return err
	}
	s.far(func() {
		s.daemon, err = s.stage.StartDaemon(s.at,
			fmt.Sprintf("PermitOpen ftp/%s %s:*", s.ftp.Addr, s.at), "MaxConnections 100000", "MaxChannels 65535")
	})
	if err != nil {
		return err
	}
	s.closers = append(s.closers, s.daemon.Close)
	return nil
}

// enter starts those of the contenders that a measurement wants.
func (s *scene) enter(ctx context.Context, all []spec) (in []*contender, err error) {
	for _, c := range all {
		more, err := c.start(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("start %s: %w", c.name, err)
		}
		in = append(in, more...)
	}
	return append(in, &contender{
		name: noTunnel, echo: s.echo.at, source: s.source.at, sink: s.sink.at, ftp: s.ftp.Addr,
	}), nil
}
