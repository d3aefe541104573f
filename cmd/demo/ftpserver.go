package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"

	ftpserver "github.com/fclairamb/ftpserverlib"
	"github.com/spf13/afero"
)

// announcedHost is what the embedded FTP server announces in its 227: like many a server behind NAT, an
// address that is not its own.
const announcedHost = "10.1.60.99"

// ftpDriver is an FTP server with one user and its files in memory.
type ftpDriver struct {
	listener net.Listener
	files    afero.Fs
}

// startFTP starts the server on loopback. The caller must call stop.
func startFTP(files afero.Fs) (at netip.AddrPort, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return netip.AddrPort{}, nil, err
	}
	server := ftpserver.NewFtpServer(&ftpDriver{l, files})
	if err := server.Listen(); err != nil {
		return netip.AddrPort{}, nil, fmt.Errorf("start the embedded FTP server: %w", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve() // its error says that it was stopped
	}()
	return l.Addr().(*net.TCPAddr).AddrPort(), func() { _ = server.Stop(); <-done }, nil
}

func (d *ftpDriver) GetSettings() (*ftpserver.Settings, error) {
	return &ftpserver.Settings{
		Listener: d.listener, PublicHost: announcedHost, DisableActiveMode: true,
		DefaultTransferType:  ftpserver.TransferTypeBinary,
		PasvConnectionsCheck: ftpserver.IPMatchRequired,
	}, nil
}

func (d *ftpDriver) ClientConnected(ftpserver.ClientContext) (string, error) {
	return "embedded FTP server", nil
}

func (d *ftpDriver) ClientDisconnected(ftpserver.ClientContext) {}

func (d *ftpDriver) AuthUser(_ ftpserver.ClientContext, user, password string) (ftpserver.ClientDriver, error) {
	if user != "demo" || password != "demo" {
		return nil, errors.New("wrong user or password")
	}
	return d.files, nil
}

func (d *ftpDriver) GetTLSConfig() (*tls.Config, error) { return nil, errors.New("no TLS here") }
