// Package krl reads lists of revoked keys: OpenSSH's binary Key Revocation Lists (PROTOCOL.krl), and the plain ones
// that have a public key a line. It is pure: it opens no file and reads no clock. It verifies no signature
// in a list, as OpenSSH doesn't: who may write the file decides whom to trust.
package krl

import (
	"crypto/sha1"
	"crypto/sha256"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// List says which keys are revoked. It may be asked from any goroutine. The zero List, and nil, revoke every key, as
// nobody has read them.
type List struct {
	Version   uint64    // that the writer of a KRL gave it; 0 in a plain list
	Generated time.Time // likewise; zero in a plain list
	Comment   string    // likewise, not escaped

	parsed      bool
	keys        map[[sha256.Size]byte]struct{} // hashes of the keys that are listed whole
	sha1s       map[[sha1.Size]byte]struct{}
	sha256s     map[[sha256.Size]byte]struct{}
	authorities map[string]*certificates // by the authority's key in wire form; "" is every authority
}

// certificates are those of one authority that are revoked.
type certificates struct {
	ids     map[string]struct{}
	ranges  []serials // after Parse sorted, and apart from each other
	bitmaps []bitmap
}

// serials are those from lo to hi.
type serials struct{ lo, hi uint64 }

// bitmap has a bit for each serial from lo on: the lowest bit of the last byte is that of lo.
type bitmap struct {
	lo   uint64
	bits []byte
}

func newList() *List {
	return &List{
		parsed:      true,
		keys:        make(map[[sha256.Size]byte]struct{}),
		sha1s:       make(map[[sha1.Size]byte]struct{}),
		sha256s:     make(map[[sha256.Size]byte]struct{}),
		authorities: make(map[string]*certificates),
	}
}

// Revoked reports whether key is revoked, and why, in a few words for the log. A certificate is also revoked if its key is,
// or the key of the authority that signed it.
func (l *List) Revoked(key ssh.PublicKey) (reason string, revoked bool) {
	if l == nil || !l.parsed {
		return "the list of revoked keys was not read", true
	}
	if key == nil {
		return "there is no key", true
	}
	of := ""
	for { // OpenSSH knows no authority that is itself certified; here, each in the chain counts
		cert, certified := key.(*ssh.Certificate)
		if !certified {
			break
		}
		if reason, revoked := l.keyRevoked(cert.Key); revoked {
			return of + reason, true
		}
		if reason, revoked := l.certificateRevoked(cert); revoked {
			return of + reason, true
		}
		key, of = cert.SignatureKey, "authority: "
	}
	reason, revoked = l.keyRevoked(key)
	if revoked {
		reason = of + reason
	}
	return reason, revoked
}

// keyRevoked looks at a plain key.
func (l *List) keyRevoked(key ssh.PublicKey) (reason string, revoked bool) {
	if key == nil {
		return "there is no key", true
	}
	blob := key.Marshal()
	sum := sha256.Sum256(blob)
	if _, revoked := l.keys[sum]; revoked {
		return "the key is revoked", true
	}
	if _, revoked := l.sha256s[sum]; revoked {
		return "the key is revoked by its SHA256 fingerprint", true
	}
	if _, revoked := l.sha1s[sha1.Sum(blob)]; revoked {
		return "the key is revoked by its SHA1 fingerprint", true
	}
	return "", false
}

func (l *List) certificateRevoked(cert *ssh.Certificate) (reason string, revoked bool) {
	if cert.SignatureKey == nil {
		return "the certificate has no authority", true
	}
	for _, authority := range []string{string(cert.SignatureKey.Marshal()), ""} {
		if c := l.authorities[authority]; c != nil {
			if reason, revoked := c.revoked(cert); revoked {
				return reason, true
			}
		}
	}
	return "", false
}

func (c *certificates) revoked(cert *ssh.Certificate) (reason string, revoked bool) {
	// OpenSSH drops a NUL at the end of an id, in the list and in the certificate.
	if _, revoked := c.ids[strings.TrimSuffix(cert.KeyId, "\x00")]; revoked {
		return "the certificate is revoked by its key id", true
	}
	// Serial 0 is what an authority gives that doesn't number its certificates, and is never revoked (krl.c).
	if cert.Serial == 0 {
		return "", false
	}
	_, revoked = slices.BinarySearchFunc(c.ranges, cert.Serial, func(r serials, serial uint64) int {
		switch {
		case r.hi < serial:
			return -1
		case r.lo > serial:
			return 1
		}
		return 0
	})
	revoked = revoked || slices.ContainsFunc(c.bitmaps, func(b bitmap) bool { return b.has(cert.Serial) })
	if revoked {
		return "the certificate is revoked by its serial", true
	}
	return "", false
}

func (b bitmap) has(serial uint64) bool {
	if serial < b.lo {
		return false
	}
	n := serial - b.lo
	last := uint64(len(b.bits)) - 1
	return n/8 <= last && b.bits[last-n/8]>>(n%8)&1 == 1
}

// sort puts ranges in order and joins those that touch.
func (c *certificates) sort() {
	slices.SortFunc(c.ranges, func(a, b serials) int {
		switch {
		case a.lo < b.lo:
			return -1
		case a.lo > b.lo:
			return 1
		}
		return 0
	})
	joined := c.ranges[:0]
	for _, r := range c.ranges {
		if n := len(joined); n > 0 && (r.lo <= joined[n-1].hi || r.lo-1 == joined[n-1].hi) {
			joined[n-1].hi = max(joined[n-1].hi, r.hi)
			continue
		}
		joined = append(joined, r)
	}
	c.ranges = slices.Clip(joined)
}
