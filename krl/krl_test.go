package krl

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// TestAnswersAsOpenSSH asks about every key and certificate in every list that testdata/make.sh wrote, with the
// answers that ssh-keygen -Q gave.
func TestAnswersAsOpenSSH(t *testing.T) {
	checkAnswers(t, filepath.Join("testdata", "golden"))
}

// TestAnswersAsThisOpenSSH does it again with the ssh-keygen of this machine.
func TestAnswersAsThisOpenSSH(t *testing.T) {
	script, err := filepath.Abs(filepath.Join("testdata", "make.sh"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.Command("sh", script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make.sh: %v\n%s", err, out)
	}
	checkAnswers(t, dir)
}

func checkAnswers(t *testing.T, dir string) {
	t.Helper()
	var revoked, ok int
	lists := make(map[string]*List)
	for line := range strings.Lines(string(read(t, dir, "answers"))) {
		words := strings.Fields(line)
		list, key, want := words[0], words[1], words[2] == "revoked"
		if lists[list] == nil {
			l, err := Parse(read(t, dir, list))
			if err != nil {
				t.Fatalf("%s: %v", list, err)
			}
			lists[list] = l
		}
		pub, _, _, _, err := ssh.ParseAuthorizedKey(read(t, dir, key))
		if err != nil {
			t.Fatal(err)
		}
		reason, got := lists[list].Revoked(pub)
		if got != want || got != (reason != "") {
			t.Errorf("%s, %s: got %t (%q), want %t", list, key, got, reason, want)
		}
		if want {
			revoked++
		} else {
			ok++
		}
	}
	if revoked < 50 || ok < 50 {
		t.Errorf("%d answers are revoked, %d are not: want many of both", revoked, ok)
	}
}

// TestGoldenFilesHaveEveryEncoding holds that ssh-keygen chose the encodings for which the lists were made.
func TestGoldenFilesHaveEveryEncoding(t *testing.T) {
	dir := filepath.Join("testdata", "golden")
	ca := authority(t, dir)
	for name, has := range map[string]func(*List) bool{
		"keys.krl":   func(l *List) bool { return len(l.keys) == 2 },
		"sha1.krl":   func(l *List) bool { return len(l.sha1s) == 1 },
		"sha256.krl": func(l *List) bool { return len(l.sha256s) == 1 },
		"list.krl":   func(l *List) bool { return len(l.authorities[ca].ranges) == 4 },
		"range.krl":  func(l *List) bool { return l.authorities[ca].ranges[0] == serials{150, 1000000} },
		"bitmap.krl": func(l *List) bool { return len(l.authorities[ca].bitmaps) == 1 },
		"id.krl":     func(l *List) bool { return len(l.authorities[ca].ids) == 1 },
		"anyca.krl":  func(l *List) bool { return len(l.authorities[""].ids) == 1 },
		"plain.keys": func(l *List) bool { return len(l.keys) == 2 && l.Generated.IsZero() },
		"mixed.krl":  func(l *List) bool { return l.Version == 42 && l.Generated.Year() > 2020 },
	} {
		l, err := Parse(read(t, dir, name))
		if err != nil || !has(l) {
			t.Errorf("%s: got %+v, error %v", name, l, err)
		}
	}
}

func TestReasonSaysWhatIsRevoked(t *testing.T) {
	dir := filepath.Join("testdata", "golden")
	for _, tt := range []struct{ list, key, want string }{
		{"keys.krl", "ed.pub", "the key is revoked"},
		{"sha1.krl", "ed.pub", "the key is revoked by its SHA1 fingerprint"},
		{"hash.krl", "mallory2-cert.pub", "the key is revoked by its SHA256 fingerprint"},
		{"serial.krl", "s7-cert.pub", "the certificate is revoked by its serial"},
		{"bitmap.krl", "s1002-cert.pub", "the certificate is revoked by its serial"},
		{"anyca.krl", "mallory2-cert.pub", "the certificate is revoked by its key id"},
		{"authority.krl", "ofother-cert.pub", "authority: the key is revoked"},
		{"plain.keys", "ed.pub", "the key is revoked"},
		{"plain.keys", "s0-cert.pub", "the key is revoked"},
		{"plain.keys", "ofother-cert.pub", "authority: the key is revoked"},
	} {
		l, err := Parse(read(t, dir, tt.list))
		if err != nil {
			t.Fatal(err)
		}
		pub, _, _, _, err := ssh.ParseAuthorizedKey(read(t, dir, tt.key))
		if err != nil {
			t.Fatal(err)
		}
		if got, revoked := l.Revoked(pub); got != tt.want || !revoked {
			t.Errorf("%s, %s: got %t, %q, want %q", tt.list, tt.key, revoked, got, tt.want)
		}
	}
}

func TestZeroListRevokesEverything(t *testing.T) {
	key := testKey(t, 1)
	for name, l := range map[string]*List{"nil": nil, "zero": {}} {
		if reason, revoked := l.Revoked(key); !revoked || reason == "" {
			t.Errorf("%s: got %t, %q, want revoked with a reason", name, revoked, reason)
		}
	}
	l, err := Parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	if reason, revoked := l.Revoked(key); revoked {
		t.Errorf("empty file: got revoked (%q)", reason)
	}
	if _, revoked := l.Revoked(nil); !revoked {
		t.Error("no key: got not revoked")
	}
}

func TestSerialsNextToARangeStay(t *testing.T) {
	u := binary.BigEndian.AppendUint64
	l := parse(t, file(section(sectionCertificates, str(nil), str(nil),
		section(certSerialRange, u(u(nil, 20), 30)),
		section(certSerialRange, u(u(nil, 25), 40)),
		section(certSerialList, u(u(nil, 41), 50)),
		section(certSerialRange, u(u(nil, math.MaxUint64-1), math.MaxUint64)),
		section(certSerialBitmap, u(nil, math.MaxUint64-7), str([]byte{0, 0x80})),
		section(certSerialBitmap, u(nil, 0), str([]byte{4})))))
	if n := len(l.authorities[""].ranges); n != 3 {
		t.Errorf("got %d ranges, want 3", n)
	}
	for serial, want := range map[uint64]bool{
		0: false, 1: false, 2: true, 3: false, 19: false, 20: true, 30: true, 40: true, 41: true, 42: false, 49: false, 50: true, 51: false,
		math.MaxUint64 - 2: false, math.MaxUint64 - 1: true, math.MaxUint64: true,
	} {
		cert := &ssh.Certificate{Key: testKey(t, 1), SignatureKey: testKey(t, 2), Serial: serial}
		if _, got := l.Revoked(cert); got != want {
			t.Errorf("serial %d: got %t, want %t", serial, got, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	u := binary.BigEndian.AppendUint64
	certs := func(sections ...[]byte) []byte {
		return file(section(sectionCertificates, str(nil), str(nil), bytes.Join(sections, nil)))
	}
	key, sum := testKey(t, 1).Marshal(), make([]byte, 32)
	signature := append(section(sectionSignature, key), str([]byte("signature"))...)
	large := make([]byte, maxBitmap/8+1)
	large[0] = 1
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"cut in the header":        {[]byte(magic + "\x00"), "cut short"},
		"another format":           {append([]byte(magic), 0, 0, 0, 2), "format version 2"},
		"NUL in the comment":       {header("a\x00b"), "NUL"},
		"cut section":              {append(file(), sectionKeys, 0, 0, 0, 9), "cut short"},
		"unknown section":          {file(section(77)), "section 77 at byte 44: not known"},
		"critical extension":       {file(section(sectionExtension, str([]byte("x@y")), []byte{1}, str(nil))), `"x@y" is critical`},
		"extension too long":       {file(section(sectionExtension, str([]byte("x@y")), []byte{0}, str(nil), []byte{9})), "too many"},
		"critical in certificates": {certs(section(certExtension, str([]byte("x@y")), []byte{2}, str(nil))), `"x@y" is critical`},
		"unknown of certificates":  {certs(section(0x30)), "0x30: not known"},
		"SHA1 of 32 bytes":         {file(section(sectionSHA1, str(sum))), "SHA1 fingerprint of 32 bytes"},
		"SHA256 of 20 bytes":       {file(section(sectionSHA256, str(sum[:20]))), "SHA256 fingerprint of 20 bytes"},
		"authority is no key":      {file(section(sectionCertificates, str([]byte("x")), str(nil))), "authority"},
		"serial 0":                 {certs(section(certSerialList, u(nil, 0))), "no serials"},
		"range backwards":          {certs(section(certSerialRange, u(u(nil, 9), 8))), "no serials: 9 to 8"},
		"range too long":           {certs(section(certSerialRange, u(u(u(nil, 8), 9), 9))), "too many"},
		"bitmap with serial 0":     {certs(section(certSerialBitmap, u(nil, 0), str([]byte{1}))), "serial 0"},
		"bitmap negative":          {certs(section(certSerialBitmap, u(nil, 1), str([]byte{0x80}))), "negative"},
		"bitmap beyond the end":    {certs(section(certSerialBitmap, u(nil, math.MaxUint64), str([]byte{2}))), "beyond"},
		"bitmap too large":         {certs(section(certSerialBitmap, u(nil, 1), str(large))), "bits"},
		"NUL in a key id":          {certs(section(certKeyID, str([]byte("a\x00b")))), "NUL"},
		"section after signature":  {append(file(signature), section(sectionKeys, str(key))...), "after a signature"},
		"signature cut":            {file(section(sectionSignature, key)), "cut short"},
		"plain garbage":            {[]byte("\n\nssh-ed25519\n"), "line 3: no public key"},
		"plain with options":       {[]byte("restrict ssh-ed25519 AAAA\n"), "line 1: no public key"},
		"plain, wrong type":        {[]byte("ssh-rsa " + base64.StdEncoding.EncodeToString(key)), `"ssh-rsa"`},
	} {
		if l, err := Parse(tt.data); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, error %v, want %q", name, l, err, tt.want)
		}
	}
}

func TestWhatNeedNotBeKnownIsPassedOver(t *testing.T) {
	key := testKey(t, 1).Marshal()
	optional := section(sectionExtension, str([]byte("x@y")), []byte{0}, str([]byte("z")))
	signature := append(section(sectionSignature, key), str([]byte("signature"))...)
	l := parse(t, file(optional,
		section(sectionCertificates, str(nil), str([]byte("reserved")), section(certExtension, str([]byte("x@y")), []byte{0}, str(nil))),
		section(sectionKeys, str(key)), signature, signature))
	if _, revoked := l.Revoked(testKey(t, 1)); !revoked {
		t.Error("the key behind the extension is not revoked")
	}
}

func TestNULAtTheEndOfAKeyIDIsNone(t *testing.T) {
	l := parse(t, file(section(sectionCertificates, str(nil), str(nil), section(certKeyID, str([]byte("mallory\x00"))))))
	for _, id := range []string{"mallory", "mallory\x00"} {
		cert := &ssh.Certificate{Key: testKey(t, 1), SignatureKey: testKey(t, 2), KeyId: id}
		if _, revoked := l.Revoked(cert); !revoked {
			t.Errorf("%q: got not revoked", id)
		}
	}
}

func FuzzParse(f *testing.F) {
	golden, err := filepath.Glob(filepath.Join("testdata", "golden", "*.k*"))
	if err != nil || len(golden) == 0 {
		f.Fatalf("golden files: %q, %v", golden, err)
	}
	for _, path := range golden {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	key, other := testKey(f, 1), testKey(f, 3)
	cert := &ssh.Certificate{Key: key, SignatureKey: testKey(f, 2), Serial: 100, KeyId: "mallory"}
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := Parse(data)
		if err != nil {
			return
		}
		keyReason, keyRevoked := l.Revoked(key)
		certReason, certRevoked := l.Revoked(cert)
		if keyRevoked != (keyReason != "") || certRevoked != (certReason != "") {
			t.Errorf("got %t with reason %q, %t with reason %q", keyRevoked, keyReason, certRevoked, certReason)
		}
		if keyRevoked && !certRevoked {
			t.Error("the key is revoked, its certificate isn't")
		}
		if kept, most := l.size(), len(data); kept > most {
			t.Errorf("%d entries of %d bytes", kept, most)
		}
		// A list that revokes one key more revokes everything that it did.
		more := append(bytes.Clone(data), '\n')
		more = append(more, ssh.MarshalAuthorizedKey(other)...)
		if bytes.HasPrefix(data, []byte(magic)) {
			more = append(bytes.Clone(data), section(sectionKeys, str(other.Marshal()))...)
		}
		longer, err := Parse(more)
		if err != nil {
			if !strings.Contains(err.Error(), "after a signature") {
				t.Errorf("with a key added: %v", err)
			}
			return
		}
		if _, revoked := longer.Revoked(other); !revoked {
			t.Error("the key that was added is not revoked")
		}
		if _, revoked := longer.Revoked(cert); certRevoked && !revoked {
			t.Error("a certificate is no longer revoked")
		}
	})
}

// size is how many entries a list has.
func (l *List) size() int {
	n := len(l.keys) + len(l.sha1s) + len(l.sha256s) + len(l.authorities)
	for _, c := range l.authorities {
		n += len(c.ids) + len(c.ranges)
		for _, b := range c.bitmaps {
			n += len(b.bits)
		}
	}
	return n
}

func parse(t *testing.T, data []byte) *List {
	t.Helper()
	l, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// authority is ca.pub in wire form.
func authority(t *testing.T, dir string) string {
	t.Helper()
	pub, _, _, _, err := ssh.ParseAuthorizedKey(read(t, dir, "ca.pub"))
	if err != nil {
		t.Fatal(err)
	}
	return string(pub.Marshal())
}

func testKey(tb testing.TB, n byte) ssh.PublicKey {
	tb.Helper()
	seed := bytes.Repeat([]byte{n}, ed25519.SeedSize)
	pub, err := ssh.NewPublicKey(ed25519.NewKeyFromSeed(seed).Public())
	if err != nil {
		tb.Fatal(err)
	}
	return pub
}

func str(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
}

func section(typ byte, parts ...[]byte) []byte {
	return append([]byte{typ}, str(bytes.Join(parts, nil))...)
}

func header(comment string) []byte {
	b := append([]byte(magic), 0, 0, 0, formatVersion)
	b = append(b, make([]byte, 24)...)
	return append(append(b, str(nil)...), str([]byte(comment))...)
}

func file(sections ...[]byte) []byte { return append(header(""), bytes.Join(sections, nil)...) }
