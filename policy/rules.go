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
	Source   string // "sshd_config:31"
	Criteria Criteria
	Rules    Rules
}

// Rules are the lines of one scope. What is nil isn't said there.
type Rules struct {
	// Every line of a scope counts, and so do those of every matching block; these lines together take the place of the global ones.
	DenyUsers, AllowUsers   []Line[[]UserPattern]
	DenyGroups, AllowGroups []Line[[]GroupPattern]

	AllowTCPForwarding *Line[Forwarding]
	DisableForwarding  *Line[bool]
	PermitOpen         *Line[[]OpenPattern]   // an empty list is PermitOpen none
	DenyOpen           []Line[[]OpenPattern]  // every line counts, the global ones as well
	PermitListen       *Line[[]ListenPattern] // an empty list is PermitListen none
	GatewayPorts       *Line[GatewayPorts]

	FTPDataPorts   *Line[[]PortRange]
	FTPDataAddress *Line[[]netip.Prefix]
	FTPDataTimeout *Line[time.Duration]
	FTPAccess      *Line[Access]
	FTPDeny        []Line[[]PathPattern] // every line counts, the global ones as well
	FTPAllow       *Line[[]PathPattern]  // an empty list is FTPAllow none
	FTPActive      *Line[Active]
	FTPPredial     *Line[bool]
	FTPOpaqueTLS   *Line[[]PortRange]

	// Every line counts, the global ones after those of the blocks; the first that is for the target has the word.
	FTPUpstreamTLS           []Line[Targeted[TLS]]
	FTPUpstreamTLSPin        []Line[Targeted[[]Pin]] // an empty list is FTPUpstreamTLSPin none
	FTPUpstreamTLSCAFile     *Line[string]
	FTPUpstreamTLSMaxVersion *Line[TLSVersion]
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

// String returns the value as it is written.
func (f Forwarding) String() string {
	switch f {
	case ForwardLocal:
		return "local"
	case ForwardRemote:
		return "remote"
	}
	return yesNo(f == ForwardAll)
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

// rulesFor merges the rules that apply to s, as sshd does: the first matching Match block that
// says something wins, then the global scope. DenyOpen and FTPDeny accumulate over all of them, and the lists of users and groups over
// the matching blocks.
func (p *Policy) rulesFor(s Subject, now time.Time, tr *trail) Rules {
	var merged Rules
	for i := range p.Blocks {
		b := &p.Blocks[i]
		matches := b.Criteria.Match(s, now)
		tr.block(b, matches, s, now)
		if matches {
			merged.add(&b.Rules)
			merged.addWho(&b.Rules)
		}
	}
	merged.add(&p.Global)
	merged.defaultWho(&p.Global)
	return merged
}

func (r *Rules) add(later *Rules) {
	first(&r.AllowTCPForwarding, later.AllowTCPForwarding)
	first(&r.DisableForwarding, later.DisableForwarding)
	first(&r.PermitOpen, later.PermitOpen)
	first(&r.PermitListen, later.PermitListen)
	first(&r.GatewayPorts, later.GatewayPorts)
	first(&r.FTPDataPorts, later.FTPDataPorts)
	first(&r.FTPDataAddress, later.FTPDataAddress)
	first(&r.FTPDataTimeout, later.FTPDataTimeout)
	first(&r.FTPAccess, later.FTPAccess)
	first(&r.FTPActive, later.FTPActive)
	first(&r.FTPPredial, later.FTPPredial)
	first(&r.FTPOpaqueTLS, later.FTPOpaqueTLS)
	first(&r.FTPUpstreamTLSCAFile, later.FTPUpstreamTLSCAFile)
	first(&r.FTPUpstreamTLSMaxVersion, later.FTPUpstreamTLSMaxVersion)
	appendLines(&r.FTPUpstreamTLS, later.FTPUpstreamTLS)
	appendLines(&r.FTPUpstreamTLSPin, later.FTPUpstreamTLSPin)
	first(&r.FTPAllow, later.FTPAllow)
	appendLines(&r.DenyOpen, later.DenyOpen)
	appendLines(&r.FTPDeny, later.FTPDeny)
}

func (r *Rules) addWho(later *Rules) {
	appendLines(&r.DenyUsers, later.DenyUsers)
	appendLines(&r.AllowUsers, later.AllowUsers)
	appendLines(&r.DenyGroups, later.DenyGroups)
	appendLines(&r.AllowGroups, later.AllowGroups)
}

func (r *Rules) defaultWho(global *Rules) {
	unlessSaid(&r.DenyUsers, global.DenyUsers)
	unlessSaid(&r.AllowUsers, global.AllowUsers)
	unlessSaid(&r.DenyGroups, global.DenyGroups)
	unlessSaid(&r.AllowGroups, global.AllowGroups)
}

// appendLines copies only where there is something to put together.
func appendLines[T any](have *[]Line[T], later []Line[T]) {
	if len(*have) == 0 {
		*have = later
		return
	}
	*have = slices.Concat(*have, later)
}

func unlessSaid[T any](have *[]Line[T], global []Line[T]) {
	if len(*have) == 0 {
		*have = global
	}
}

func first[T any](have **Line[T], later *Line[T]) {
	if *have == nil {
		*have = later
	}
}

// ftp returns the FTP settings in force.
func (r *Rules) ftp() *FTP {
	f := &FTP{
		DataPorts:     value(r.FTPDataPorts),
		DataAddresses: value(r.FTPDataAddress),
		DataTimeout:   value(r.FTPDataTimeout),
		Access:        value(r.FTPAccess),
		Active:        value(r.FTPActive),
		Predial:       value(r.FTPPredial),
		Deny:          r.FTPDeny,
	}
	if allow := r.FTPAllow; allow != nil && allow.Source != "" { // the default goes without saying
		f.Allow = allow
	}
	if r.FTPAccess != nil {
		f.AccessRule = r.FTPAccess.Source
	}
	return f
}

func value[T any](l *Line[T]) T {
	if l == nil {
		var zero T
		return zero
	}
	return l.Value
}
