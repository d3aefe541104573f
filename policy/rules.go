package policy

import (
	"net/netip"
	"slices"
	"time"
)

// Policy is what the configuration permits. The zero Policy permits nothing. It is not to be
// written to once somebody asks it; then it may be asked from any goroutine.
type Policy struct {
	Global Rules   // what stands outside of any Match
	Blocks []Block // in file order
}

// Block is a Match line and the rules under it.
type Block struct {
	Criteria Criteria
	Rules    Rules
}

// Rules are the lines of one scope. What is nil isn't said there.
type Rules struct {
	AllowTCPForwarding *Line[Forwarding]
	PermitOpen         *Line[[]OpenPattern]  // an empty list is PermitOpen none
	DenyOpen           []Line[[]OpenPattern] // every line counts

	FTPDataPorts   *Line[[]PortRange]
	FTPDataAddress *Line[[]netip.Prefix]
	FTPDataTimeout *Line[time.Duration]
	FTPAccess      *Line[Access]
}

// Line is a value and where the configuration says it.
type Line[T any] struct {
	Source string // "sshd_config:33", or empty for a default
	Value  T
}

// Forwarding is the value of AllowTcpForwarding.
type Forwarding int

const (
	ForwardNone   Forwarding = iota // no
	ForwardLocal                    // local: direct-tcpip only
	ForwardRemote                   // remote: tcpip-forward only
	ForwardAll                      // yes
)

// rulesFor merges the rules that apply to s, as sshd does: the first matching Match block that
// says something wins, then the global scope. DenyOpen accumulates.
func (p *Policy) rulesFor(s Subject, now time.Time) Rules {
	var merged Rules
	for _, b := range p.Blocks {
		if b.Criteria.Match(s, now) {
			merged.add(b.Rules)
		}
	}
	merged.add(p.Global)
	return merged
}

func (r *Rules) add(later Rules) {
	first(&r.AllowTCPForwarding, later.AllowTCPForwarding)
	first(&r.PermitOpen, later.PermitOpen)
	first(&r.FTPDataPorts, later.FTPDataPorts)
	first(&r.FTPDataAddress, later.FTPDataAddress)
	first(&r.FTPDataTimeout, later.FTPDataTimeout)
	first(&r.FTPAccess, later.FTPAccess)
	r.DenyOpen = slices.Concat(r.DenyOpen, later.DenyOpen)
}

func first[T any](have **Line[T], later *Line[T]) {
	if *have == nil {
		*have = later
	}
}

// ftp returns the FTP settings in force.
func (r *Rules) ftp() *FTP {
	return &FTP{
		DataPorts:     value(r.FTPDataPorts),
		DataAddresses: value(r.FTPDataAddress),
		DataTimeout:   value(r.FTPDataTimeout),
		Access:        value(r.FTPAccess),
	}
}

func value[T any](l *Line[T]) T {
	if l == nil {
		var zero T
		return zero
	}
	return l.Value
}
