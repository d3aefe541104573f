package client

import (
	"errors"
	"net"
	"strconv"

	"golang.org/x/crypto/ssh"
)

// place is where the bastion listens for us: the host as we spelled it, and the port. It names each connection by it that it offers
// (RFC 4254, section 7.2). Or it is a Unix socket (OpenSSH's PROTOCOL, section 2.4).
type place struct {
	host   string
	port   uint16
	socket string // path
}

func (p place) String() string {
	if p.socket != "" {
		return p.socket
	}
	host := p.host
	if host == "" {
		host = "*"
	}
	return net.JoinHostPort(host, strconv.Itoa(int(p.port)))
}

// typed is a host that a person on the bastion can type.
func (p place) typed() string {
	switch p.host {
	case "", "localhost", "0.0.0.0", "::":
		return "localhost"
	}
	return p.host
}

// anyPort is the word of PermitListen for every port of the host.
func (p place) anyPort() string {
	if p.host == "" {
		return "*:*"
	}
	return net.JoinHostPort(p.host, "*")
}

// open reports whether the bastion is to choose the port.
func (p place) open() bool { return p.socket == "" && p.port == 0 }

// payload is that of the request to listen at p, and of the one to end that.
func (p place) payload() []byte {
	if p.socket != "" {
		return ssh.Marshal(struct{ Path string }{p.socket})
	}
	return ssh.Marshal(tcpipForward{p.host, uint32(p.port)})
}

// tcpipForward is the payload of "tcpip-forward" and "cancel-tcpip-forward" (RFC 4254, section 7.1).
type tcpipForward struct {
	Host string
	Port uint32
}

// bound reads the port out of the answer to a tcpip-forward (RFC 4254, section 7.1).
func (p place) bound(reply []byte) (uint16, error) {
	if !p.open() {
		return p.port, nil
	}
	var m struct{ Port uint32 }
	if err := ssh.Unmarshal(reply, &m); err != nil || m.Port == 0 || m.Port > 65535 {
		return 0, errors.New("the bastion doesn't say which port it has chosen")
	}
	return uint16(m.Port), nil
}
