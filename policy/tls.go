package policy

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// TLS mirrors FTPUpstreamTLS: how an FTP server is spoken to (RFC 4217).
type TLS int

const (
	TLSOff      TLS = iota // in the clear
	TLSPrefer              // by TLS if the server takes AUTH TLS
	TLSRequire             // by TLS, or not at all
	TLSImplicit            // by TLS from the first byte on: what ftps/ in PermitOpen says
)

// String returns the value as it is written.
func (t TLS) String() string {
	switch t {
	case TLSPrefer:
		return "prefer"
	case TLSRequire:
		return "require"
	case TLSImplicit:
		return "implicit"
	}
	return "off"
}

// TLSVersion is the number of a version of the protocol (RFC 8446, section 4.1.2). Zero is whichever there is.
type TLSVersion uint16

const (
	TLS12 TLSVersion = 0x0303
	TLS13 TLSVersion = 0x0304
)

// Pin is the SHA-256 of the SubjectPublicKeyInfo in a server's certificate (RFC 7469, section 2.4).
type Pin [32]byte

const pinPrefix = "SHA256:"

// IsPin reports whether word is meant for a [Pin].
func IsPin(word string) bool {
	return len(word) >= len(pinPrefix) && strings.EqualFold(word[:len(pinPrefix)], pinPrefix)
}

// ParsePin reads SHA256: and the hash in base64, as ssh-keygen prints fingerprints; openssl's = at the end may stand there.
func ParsePin(word string) (Pin, error) {
	if IsPin(word) {
		text := strings.TrimSuffix(word[len(pinPrefix):], "=")
		if hash, err := base64.RawStdEncoding.Strict().DecodeString(text); err == nil && len(hash) == len(Pin{}) {
			return Pin(hash), nil
		}
	}
	return Pin{}, fmt.Errorf("%q is no pin: write SHA256: and the 43 characters of the key's hash in base64", word)
}

// String returns the pin as [ParsePin] reads it.
func (p Pin) String() string { return pinPrefix + base64.RawStdEncoding.EncodeToString(p[:]) }

// Targeted is a value that holds for some targets.
type Targeted[T any] struct {
	Value   T
	Targets []OpenPattern // if empty, it holds for all
}

// firstTargeted returns the first line that is for t, and its source. Without any, the value is the zero one.
func firstTargeted[T any](lines []Line[Targeted[T]], t target, keyword string, text func(T) string, tr *trail) (value T, source string) {
	for i := range lines {
		line := &lines[i]
		word, hit := firstWord(line.Value.Targets, t, OpenPattern.matches)
		switch {
		case hit:
			tr.targeted(line.Source, keyword, text(line.Value.Value)+" "+word.String(), true, t)
		case len(line.Value.Targets) == 0:
			tr.targeted(line.Source, keyword, text(line.Value.Value), true, target{})
		default:
			tr.targeted(line.Source, keyword, "", false, t)
			continue
		}
		return line.Value.Value, line.Source
	}
	return value, ""
}

// PinsText returns pins as FTPUpstreamTLSPin has them.
func PinsText(pins []Pin) string {
	if len(pins) == 0 {
		return "none"
	}
	words := make([]string, len(pins))
	for i, p := range pins {
		words[i] = p.String()
	}
	return strings.Join(words, " ")
}

// tls fills in how the server at t is spoken to.
func (r *Rules) tls(f *FTP, t target, tr *trail) {
	f.TLS, f.TLSRule = firstTargeted(r.FTPUpstreamTLS, t, "FTPUpstreamTLS", TLS.String, tr)
}

// trust fills in what the server must prove, if it is spoken to by TLS.
func (r *Rules) trust(f *FTP, t target, tr *trail) {
	if f.TLS == TLSOff {
		return
	}
	f.TLSPins, _ = firstTargeted(r.FTPUpstreamTLSPin, t, "FTPUpstreamTLSPin", PinsText, tr)
	f.TLSCAFile = value(r.FTPUpstreamTLSCAFile)
	f.TLSMaxVersion = value(r.FTPUpstreamTLSMaxVersion)
	if ca := r.FTPUpstreamTLSCAFile; ca != nil && ca.Source != "" {
		tr.line(KindTLS, ca.Source, "FTPUpstreamTLSCAFile", ca.Value, true)
	}
}

// opaque fills in the data ports of a connection that its two ends have made unreadable. What is to be read, or spoken in TLS
// here, isn't left to them.
func (r *Rules) opaque(f *FTP, tr *trail) {
	ports := r.FTPOpaqueTLS
	if ports == nil || len(ports.Value) == 0 {
		return
	}
	against := ""
	switch {
	case f.TLS != TLSOff:
		against = "FTPUpstreamTLS is " + f.TLS.String()
	case f.Access != ReadWrite:
		against = "FTPAccess is " + f.Access.String()
	case f.HasPathRules():
		against = "there are FTPDeny or FTPAllow"
	case !f.Data:
		against = "there are no data connections"
	default:
		f.OpaquePorts = ports.Value
	}
	if tr != nil {
		tr.line(KindTLS, ports.Source, "FTPOpaqueTLS", PortsText(ports.Value), against == "")
		tr.detail(against)
	}
}
