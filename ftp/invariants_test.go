package ftp

import (
	"bytes"
	"net/netip"
	"regexp"
	"strings"
	"testing"
)

var (
	canonical   = regexp.MustCompile(`^(227 Entering Passive Mode \(127,0,0,1,\d{1,3},\d{1,3}\)|229 Entering Extended Passive Mode \(\|\|\|4\d{4}\|\))\r\n$`)
	wholeToUp   = regexp.MustCompile(`^([A-Z0-9@]+( [^\x00-\x1f]*)?\r\n)+$`)
	portToUp    = regexp.MustCompile(`^(PORT 10,0,0,1,\d+,\d+|EPRT \|2\|2001:db8::1\|5\d{3}\|)\r\n$`)
	wholeToDown = regexp.MustCompile(`^([^\r\n\x00]*\r\n)+$`)
)

func checkInvariants(t *testing.T, o Options, batches []batch, secrets bool) {
	t.Helper()
	closed, live := false, false
	for _, b := range batches {
		effects := withoutRecord(b.effects)
		listening := b.call == "listening"
		live = live || listening
		for i, e := range effects {
			if closed {
				t.Fatalf("%T after Close", e)
			}
			switch e := e.(type) {
			case ToServer:
				checkToServer(t, e.Data, listening && i == 0)
			case ToClient:
				checkToClient(t, e.Data, b.call == "announced" && i == 0)
			case Announce:
				if i != len(effects)-1 {
					t.Fatalf("Announce is followed by %T", effects[i+1])
				}
				if live != e.Endpoint.Listening {
					t.Fatalf("the endpoint is %+v, and there was one before: %v", e.Endpoint, live)
				}
				live = true
				checkClient(t, o, e.Endpoint.Mode, e.Endpoint.Client)
			case Listen:
				if i != len(effects)-1 || live || o.Active != ActiveForwarded {
					t.Fatalf("Listen after %v, with an endpoint: %v", written(effects), live)
				}
				checkClient(t, o, e.Mode, e.Client)
			case Cancel:
				if !live {
					t.Fatalf("Cancel (%s) without an endpoint", e.Reason)
				}
				live = false
			case Note:
				// A user name may hold anything: `USER PASS hunter2` is one.
				if secrets && e.Kind != NoteLogin && strings.Contains(e.Text, secret) {
					t.Fatalf("a password in a note: %s", e.Text)
				}
			case Close:
				closed = true
				if live {
					t.Fatal("Close without a Cancel")
				}
			}
		}
		if b.call == "refused" {
			_, announced := last(b.effects).(Announce)
			live = live && announced
		}
	}
}

// checkProtection holds that what the client says goes up and data is announced inside TLS, or not at all, but where the server has
// refused TLS and it was only preferred.
func checkProtection(t *testing.T, o Options, batches []batch) {
	t.Helper()
	clear, protected, secured := o.TLS == TLSOff, false, o.TLS == TLSImplicit
	for _, b := range batches {
		secured = secured || b.call == "secured"
		for _, e := range b.effects {
			switch e := e.(type) {
			case Note:
				clear = clear || e.Kind == NoteClear && o.TLS == TLSPrefer && !secured
				protected = protected || e.Kind == NoteProtected && secured
			case ToClient: // a server that greets by a refusal isn't asked
				clear = clear || o.TLS == TLSPrefer && !secured && e.Data[0] > '2'
			case ToServer:
				own := strings.TrimSuffix(string(e.Data), "\r\n")
				switch {
				case clear || protected:
				case own == "AUTH TLS" && !secured, own == "PBSZ 0" && secured, own == "PROT P" && secured:
				default:
					t.Fatalf("to the server, without protection: %q", e.Data)
				}
			case Announce:
				if e.Endpoint.Protected != protected || !protected && !clear {
					t.Fatalf("announced with Protected %v, want %v: %+v", e.Endpoint.Protected, protected, e.Endpoint)
				}
			}
		}
	}
}

// checkToServer holds that PORT and EPRT name where the driver listens, whatever the client has said.
func checkToServer(t *testing.T, p []byte, listening bool) {
	t.Helper()
	if !wholeToUp.Match(p) {
		t.Fatalf("to the server: %q", p)
	}
	verb, _, _ := bytes.Cut(bytes.TrimSpace(p), []byte(" "))
	active := string(verb) == "PORT" || string(verb) == "EPRT"
	if active != listening || active && !portToUp.Match(p) {
		t.Fatalf("to the server: %q; after an answer to Listen: %v", p, listening)
	}
}

// checkClient holds that a client in active mode is dialled at its own address, and that one in passive mode is not.
func checkClient(t *testing.T, o Options, mode Mode, at netip.AddrPort) {
	t.Helper()
	if mode != PORT && mode != EPRT {
		if at.IsValid() {
			t.Fatalf("%s: the client is dialled at %v", modes[mode], at)
		}
		return
	}
	if o.Active == ActiveRefused || at.Addr() != o.Client || at.Port() < 1024 {
		t.Fatalf("%s: the client is dialled at %v, and it is %v; active mode: %v", modes[mode], at, o.Client, o.Active)
	}
}

// checkToClient holds that an announcement has one form and comes from the driver's answer alone.
func checkToClient(t *testing.T, p []byte, answersAnnounce bool) {
	t.Helper()
	if !wholeToDown.Match(p) {
		t.Fatalf("to the client: %q", p)
	}
	announcing := bytes.HasPrefix(p, []byte("227")) || bytes.HasPrefix(p, []byte("229"))
	if announcing && (!answersAnnounce || !canonical.Match(p)) {
		t.Fatalf("announced to the client: %q", p)
	}
	if !announcing && (bytes.Contains(p, []byte("\n227")) || bytes.Contains(p, []byte("\n229"))) {
		t.Fatalf("announced inside another reply: %q", p)
	}
}
