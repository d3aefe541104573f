package ftp

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

var (
	errNoSextuple  = errors.New("no address and port of six numbers in it")
	errNoPort      = errors.New("no port between delimiters in it")
	errAmbiguous   = errors.New("more than one endpoint in it")
	errByte        = errors.New("a number in it is above 255")
	errLowPort     = errors.New("the port is below 1024")
	errOtherAddr   = errors.New("the address in it is not that of the control connection")
	errUnknownPeer = errors.New("it has an address, and that of the control connection is not known here")
)

// endpoint reads an announcement, the first line of a 227 or 229, and decides what it is worth. The
// mismatch is the address that was announced and not believed, if there is one.
func (o *Options) endpoint(mode Mode, code int, line string) (e Endpoint, mismatch bool, err error) {
	text := line[len("227 "):]
	var announced netip.AddrPort
	if code == 227 {
		announced, err = parse227(text)
	} else {
		announced, err = o.parse229(text)
	}
	if err != nil {
		return Endpoint{}, false, err
	}
	e = Endpoint{Mode: mode, Addr: o.Peer, Port: announced.Port(), Announced: announced.Addr(), Reply: line}
	switch {
	case e.Port < 1024:
		return Endpoint{}, false, errLowPort
	case !o.Peer.IsValid(), !e.Announced.IsValid(), e.Announced == o.Peer.WithZone(""):
		return e, false, nil
	case o.ForeignAddress != nil && !e.Announced.IsUnspecified() && o.ForeignAddress(e.Announced):
		e.Addr = e.Announced
		return e, false, nil
	}
	return e, true, nil
}

// parse227 finds the one run of six numbers in the text of a 227. RFC 959 doesn't say
// where it is (RFC 1123, section 4.1.2.6: look for the first digit).
//
// A run is numbers set apart by commas and the spaces after them. It counts as a whole: no six numbers out of a
// longer run are taken, since which six is a matter of opinion.
func parse227(text string) (at netip.AddrPort, err error) {
	err = errNoSextuple
	for i := 0; i < len(text); {
		if !digit(text[i]) {
			i++
			continue
		}
		numbers, end := run(text[i:])
		i += end
		if len(numbers) > 6 {
			return netip.AddrPort{}, errAmbiguous
		}
		found, six, tooBig := readSextuple(numbers)
		switch {
		case !six:
			continue
		case tooBig:
			return netip.AddrPort{}, errByte
		case err == nil && found != at:
			return netip.AddrPort{}, errAmbiguous
		}
		at, err = found, nil
	}
	return at, err
}

// run cuts the numbers from the front of text, which begins with a digit, and returns where they end. A comma that
// no number follows makes one more number, an empty one.
func run(text string) (numbers []string, end int) {
	for {
		start := end
		for end < len(text) && digit(text[end]) {
			end++
		}
		numbers = append(numbers, text[start:end])
		if start == end || end == len(text) || text[end] != ',' {
			return numbers, end
		}
		end++
		for end < len(text) && text[end] == ' ' {
			end++
		}
	}
}

func readSextuple(numbers []string) (at netip.AddrPort, six, tooBig bool) {
	if len(numbers) != 6 {
		return at, false, false
	}
	var n [6]byte
	for i, s := range numbers {
		v, ok := decimal(s, 3, 999)
		if !ok {
			return at, false, false
		}
		tooBig = tooBig || v > 255
		n[i] = byte(v)
	}
	return sextuple(n), true, tooBig
}

func digit(b byte) bool { return b >= '0' && b <= '9' }

// parse229 reads the text of a 229 (RFC 2428, section 3). The address is not valid if the reply names none.
func (o *Options) parse229(text string) (at netip.AddrPort, err error) {
	_, text, found := strings.Cut(text, "(")
	if !found {
		return at, errNoPort
	}
	if at, err = o.parseFields(text); err != nil {
		return at, err
	}
	for _, more := range strings.Split(text, "(")[1:] {
		if other, err := o.parseFields(more); err == nil && other != at {
			return netip.AddrPort{}, errAmbiguous
		}
	}
	return at, nil
}

// parseFields reads what follows the parenthesis: `d [proto] d [addr] d port d )`.
func (o *Options) parseFields(text string) (at netip.AddrPort, err error) {
	if text == "" || !delimiter(text[0]) {
		return at, errNoPort
	}
	fields := strings.SplitN(text, text[:1], 5)
	if len(fields) != 5 || !strings.HasPrefix(fields[4], ")") {
		return at, errNoPort
	}
	port, ok := decimal(fields[3], 5, 65535)
	if !ok || port == 0 {
		return at, errNoPort
	}
	proto, addr := fields[1], fields[2]
	if proto == "" && addr == "" {
		return netip.AddrPortFrom(netip.Addr{}, port), nil
	}
	if !o.Peer.IsValid() {
		return at, errUnknownPeer
	}
	if proto != "" && (proto == "1") != o.Peer.Is4() || proto != "" && proto != "1" && proto != "2" {
		return at, errOtherAddr
	}
	if addr == "" {
		return netip.AddrPortFrom(netip.Addr{}, port), nil
	}
	named, err := netip.ParseAddr(addr)
	if err != nil || named.Unmap() != o.Peer.WithZone("") {
		return at, errOtherAddr
	}
	return netip.AddrPortFrom(named.Unmap(), port), nil
}

// announcement makes the reply that names at, always in the same words: clients look for the
// numbers in different places, and this is a form that all of them read. It is "" if mode can't name at, which active
// mode has no need to.
func announcement(mode Mode, at netip.AddrPort) string {
	addr, port := at.Addr().Unmap(), at.Port()
	switch {
	case mode == PORT:
		return "200 PORT command successful"
	case mode == EPRT:
		return "200 EPRT command successful"
	case port == 0 || !addr.IsValid():
		return ""
	case mode == EPSV:
		return fmt.Sprintf("229 Entering Extended Passive Mode (|||%d|)", port)
	case !addr.Is4():
		return ""
	}
	a := addr.As4()
	return fmt.Sprintf("227 Entering Passive Mode (%d,%d,%d,%d,%d,%d)", a[0], a[1], a[2], a[3], port>>8, port&0xff)
}
