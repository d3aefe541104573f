// Package socks is the server's side of SOCKS, versions 4, 4a and 5 (RFC 1928): what a client asks for, and what it is
// answered. It does no I/O, it knows no other command than CONNECT and no authentication, and what becomes of a request is its
// caller's.
package socks

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
)

// A Handshake reads what a client says until it is known what it wants. It asks for exactly the bytes that belong to the handshake, so
// that what a client sends behind them, without waiting for the answer, stays where it is. The zero value is the beginning.
type Handshake struct {
	begun bool
	want  int
	next  step
	field []byte // of version 4: what has come of the text that ends in a NUL

	command byte
	request Request
}

// Request is what a client wants to be connected to.
type Request struct {
	Version int    // 4 or 5
	Host    string // a name, or an address as netip.Addr writes it
	Port    uint16 // not 0
}

// step takes as many bytes as were wanted, and says what comes next. A reply that comes with an error is the last word.
type step func(h *Handshake, p []byte) (reply []byte, err error)

// maxText bounds a name, and the user of version 4, in bytes: it is the most that version 5 can say.
const maxText = 255

// What a client may say that we understand.
const (
	version4 = 4
	version5 = 5

	commandConnect = 1

	addressIPv4 = 1 // RFC 1928, section 5
	addressName = 3
	addressIPv6 = 4

	withoutAuthentication = 0x00 // RFC 1928, section 3
	noMethod              = 0xff
)

// Want returns how many bytes Feed is to be given next. It is at most 255, and 0 when the handshake has ended.
func (h *Handshake) Want() int {
	if !h.begun {
		return 1
	}
	return h.want
}

// Feed takes exactly as many bytes as are wanted, and returns what the client is to be told at once; nil for nothing. After an error the
// client is to be told that, if anything, and nothing else.
func (h *Handshake) Feed(p []byte) (reply []byte, err error) {
	if len(p) != h.Want() || len(p) == 0 {
		return nil, fmt.Errorf("SOCKS: %d bytes in the place of %d", len(p), h.Want())
	}
	if !h.begun {
		h.begun, h.next = true, begin
	}
	if reply, err = h.next(h, p); err != nil {
		h.want = 0
		return reply, fmt.Errorf("SOCKS: %w", err)
	}
	return reply, nil
}

// Request returns what the client wants, once the handshake has ended without an error.
func (h *Handshake) Request() Request { return h.request }

// then says what comes next, and how long it is.
func (h *Handshake) then(n int, next step) ([]byte, error) {
	h.want, h.next = n, next
	return nil, nil
}

func begin(h *Handshake, p []byte) ([]byte, error) {
	h.request.Version = int(p[0])
	switch p[0] {
	case version4:
		return h.then(7, request4)
	case version5:
		return h.then(1, methodCount)
	}
	return nil, fmt.Errorf("a client that begins with %q speaks something else", p)
}

// methodCount is the length of what version 5 begins with (RFC 1928, section 3).
func methodCount(h *Handshake, p []byte) ([]byte, error) {
	if p[0] == 0 {
		return []byte{version5, noMethod}, errNoMethod
	}
	return h.then(int(p[0]), methods)
}

var errNoMethod = errors.New("the client offers no way without a password: set none for this proxy")

func methods(h *Handshake, p []byte) ([]byte, error) {
	if !bytes.Contains(p, []byte{withoutAuthentication}) {
		return []byte{version5, noMethod}, errNoMethod
	}
	_, _ = h.then(4, request5)
	return []byte{version5, withoutAuthentication}, nil
}

// request5 is version 5's request up to the address (RFC 1928, section 4):
//
//	byte  version
//	byte  command
//	byte  reserved
//	byte  type of address
func request5(h *Handshake, p []byte) ([]byte, error) {
	if p[0] != version5 {
		return h.refuse(Failed, fmt.Errorf("a request of version %d in version 5", p[0]))
	}
	h.command = p[1]
	switch p[3] {
	case addressIPv4:
		return h.then(4+2, address)
	case addressIPv6:
		return h.then(16+2, address)
	case addressName:
		return h.then(1, nameLength)
	}
	return h.refuse(addressUnknown, fmt.Errorf("address type %d is unknown", p[3]))
}

func nameLength(h *Handshake, p []byte) ([]byte, error) {
	if p[0] == 0 {
		return h.refuse(Failed, errNoName)
	}
	if p[0] > maxText-2 { // a name of DNS has no more (RFC 1035, section 2.3.4), and the port comes with it
		return h.refuse(Failed, fmt.Errorf("a host name of %d bytes", p[0]))
	}
	return h.then(int(p[0])+2, name)
}

var errNoName = errors.New("the host name is missing")

func name(h *Handshake, p []byte) ([]byte, error) {
	n := len(p) - 2
	return h.end(string(p[:n]), port(p[n:]))
}

func address(h *Handshake, p []byte) ([]byte, error) {
	n := len(p) - 2
	a, _ := netip.AddrFromSlice(p[:n])
	return h.end(a.Unmap().String(), port(p[n:]))
}

// request4 is version 4's request up to the user, who is not checked, and for that reason is not looked at:
//
//	byte     command
//	uint16   port
//	byte[4]  address; 0.0.0.x stands for a name behind the user (4a)
func request4(h *Handshake, p []byte) ([]byte, error) {
	h.command, h.request.Port = p[0], port(p[1:3])
	a := netip.AddrFrom4([4]byte(p[3:]))
	return h.text(func(h *Handshake, _ []byte) ([]byte, error) {
		if b := a.As4(); b[0]|b[1]|b[2] != 0 || b[3] == 0 {
			return h.end(a.String(), h.request.Port)
		}
		return h.text(func(h *Handshake, p []byte) ([]byte, error) { return h.end(string(p), h.request.Port) })
	})
}

// text collects what ends in a NUL, and gives it to next.
func (h *Handshake) text(next step) ([]byte, error) {
	h.field = nil
	return h.then(1, func(h *Handshake, p []byte) ([]byte, error) {
		switch {
		case p[0] == 0:
			return next(h, h.field)
		case len(h.field) == maxText:
			return h.refuse(Failed, fmt.Errorf("a text of more than %d bytes", maxText))
		}
		h.field = append(h.field, p[0])
		return nil, nil
	})
}

func port(p []byte) uint16 { return uint16(p[0])<<8 | uint16(p[1]) }

// end judges what has come whole.
func (h *Handshake) end(host string, port uint16) ([]byte, error) {
	if h.command != commandConnect {
		return h.refuse(commandUnknown, fmt.Errorf("command %d is not CONNECT", h.command))
	}
	host, err := checked(host)
	if err == nil && port == 0 {
		err = errors.New("port 0 is nobody's")
	}
	if err != nil {
		return h.refuse(Failed, err)
	}
	h.request.Host, h.request.Port = host, port
	h.want = 0
	return nil, nil
}

func (h *Handshake) refuse(o Outcome, err error) ([]byte, error) {
	return h.request.Reply(o), err
}

// checked returns host as it is to be asked for. What can be neither a name nor an address is refused: it goes to another program.
func checked(host string) (string, error) {
	if host == "" {
		return "", errNoName
	}
	if a, err := netip.ParseAddr(host); err == nil && a.Zone() == "" {
		return a.Unmap().String(), nil
	}
	for _, c := range []byte(host) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && c != '-' && c != '.' && c != '_' {
			return "", fmt.Errorf("%q is not a host name", host)
		}
	}
	if host[0] == '-' {
		return "", fmt.Errorf("%q is not a host name", host)
	}
	return host, nil
}
