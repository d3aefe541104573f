package ftp

import (
	"net/netip"
	"strconv"
	"strings"
)

// planActive checks PORT and EPRT, and refuses what is right as well: active mode isn't offered yet.
func (s *Session) planActive(c command) plan {
	if s.epsvAll {
		return answer(answerOnlyEPSV)
	}
	var at netip.AddrPort
	var ok bool
	if c.verb == "PORT" {
		at, ok = parsePORT(c.arg())
	} else {
		proto, parsed, wellFormed := parseEPRT(c.arg())
		if wellFormed && proto != s.family() {
			return answer(s.otherFamily())
		}
		at, ok = parsed, wellFormed
	}
	switch {
	case !ok:
		return answer("501 Syntax error in the address")
	case at.Addr() != s.opt.Client.WithZone(""): // so it is if Client isn't known
		return answer("501 The address is not that of the control connection")
	case at.Port() < 1024:
		return answer("504 The port is below 1024")
	}
	return answer("502 Active mode is not offered here, use passive mode (PASV or EPSV)")
}

// parsePORT reads the argument of PORT: six decimals of at most 255, and nothing else. RFC 959, section 4.1.2.
func parsePORT(arg string) (netip.AddrPort, bool) {
	fields := strings.Split(arg, ",")
	if len(fields) != 6 {
		return netip.AddrPort{}, false
	}
	var n [6]byte
	for i, f := range fields {
		v, ok := decimal(f, 3, 255)
		if !ok {
			return netip.AddrPort{}, false
		}
		n[i] = byte(v)
	}
	return sextuple(n), true
}

// parseEPRT reads the argument of EPRT. An address that isn't of the family named by proto isn't
// well formed. RFC 2428, section 2.
func parseEPRT(arg string) (proto string, at netip.AddrPort, ok bool) {
	if arg == "" || !delimiter(arg[0]) {
		return "", at, false
	}
	fields := strings.Split(arg, arg[:1])
	if len(fields) != 5 || fields[0] != "" || fields[4] != "" || !decimals(fields[1]) {
		return "", at, false
	}
	proto = fields[1]
	port, ok := decimal(fields[3], 5, 65535)
	if !ok {
		return "", at, false
	}
	if proto != "1" && proto != "2" { // an address of it can't be read
		return proto, at, true
	}
	addr, err := netip.ParseAddr(fields[2])
	if err != nil || addr.Zone() != "" || addr.Is4() != (proto == "1") {
		return "", at, false
	}
	return proto, netip.AddrPortFrom(addr.Unmap(), port), true
}

// delimiter reports whether d may set the fields of RFC 2428 apart: a digit would be ambiguous.
func delimiter(d byte) bool { return d >= 33 && d <= 126 && (d < '0' || d > '9') }

// decimal reads one to digits digits. Leading zeros don't make it octal.
func decimal(s string, digits int, most uint64) (uint16, bool) {
	if !decimals(s) || len(s) > digits {
		return 0, false
	}
	v, err := strconv.ParseUint(s, 10, 16)
	return uint16(v), err == nil && v <= most
}

func sextuple(n [6]byte) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(n[:4])), uint16(n[4])<<8|uint16(n[5]))
}
