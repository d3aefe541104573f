package ftp

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// A command is one line from the client.
type command struct {
	verb string // in upper case
	rest string // what follows the verb, from its SP on
	size int    // what it costs to hold it, in bytes
	said bool   // it is said for the client (Options.Said)

	// refusal, if not empty, is the answer: the line was no command.
	refusal string
}

// parseCommand reads a line that the commandReader found whole. RFC 959, section 5.3.
func parseCommand(line []byte) command {
	c := command{size: perCommand + len(line)}
	verb, arg, hasArg := strings.Cut(string(line), " ")
	if verb == "" || strings.ContainsFunc(verb, notInVerb) {
		c.refusal = "500 Syntax error, no command there"
		return c
	}
	c.verb = strings.ToUpper(verb)
	if hasArg {
		c.rest = " " + arg
	}
	return c
}

func notInVerb(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '@')
}

// arg returns the argument without its SP.
func (c command) arg() string { return strings.TrimPrefix(c.rest, " ") }

// overtakes reports whether c may go out while an earlier command is held back: RFC 959, section 4.1.3,
// has these two sent during a transfer, and a client may read no data before it has their replies. STAT with a path is
// an ordinary command, as it depends on a CWD before it.
func (c command) overtakes() bool {
	return c.aborts() || c.verb == "STAT" && strings.Trim(c.rest, " ") == "" // any other character may be the name of a file
}

func (c command) aborts() bool { return c.verb == "ABOR" }

// shown returns the verb for a log. A password is no verb, but PASSsecret reads as one.
func (c command) shown() string {
	for _, secret := range []string{"PASS", "ACCT"} {
		if strings.HasPrefix(c.verb, secret) {
			return secret
		}
	}
	return quote(c.verb)
}

// quote quotes what a peer sent for a log, and cuts it where it is long.
func quote[T string | []byte](p T) string {
	const enough = 256
	if len(p) > enough {
		return fmt.Sprintf("%q and %d more bytes", p[:enough], len(p)-enough)
	}
	return fmt.Sprintf("%q", p)
}

// foreign returns which other protocol the first line of a client is, or "" if it may well be FTP. A web page can make a
// browser send a request to a port on loopback; the body of it must not find an FTP session that
// put up with the first line.
func foreign(line []byte) string {
	text := string(line)
	verb, _, _ := strings.Cut(text, " ")
	switch {
	case tls(line):
		return "TLS"
	case strings.HasPrefix(text, "SSH-"):
		return "SSH"
	case strings.Contains(text, " HTTP/"):
		return "HTTP"
	}
	switch strings.ToUpper(verb) {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI":
		return "HTTP"
	case "EHLO", "HELO", "LHLO":
		return "SMTP"
	}
	return ""
}

// tls reports whether line begins with the head of a TLS record (RFC 8446, section 5.1): handshake, version 3.x.
func tls(line []byte) bool { return len(line) >= 2 && line[0] == 0x16 && line[1] == 3 }

// A plan is what becomes of a command: an entry of the FIFO, and the line that goes to the
// server, unless the entry holds the answer.
type plan struct {
	entry entry
	line  string
}

func answer(reply string) plan { return plan{entry: entry{local: reply}} }

// kinds tells the commands that mean something to the session. All others are plain.
var kinds = map[string]kind{
	"USER": userName, "PASS": login, "ACCT": login,
	"REIN": rein, "ABOR": abor, "STAT": stat, "NOOP": noop, "FEAT": feat,
	"RETR": transfer, "STOR": transfer, "STOU": transfer, "APPE": transfer,
	"LIST": transfer, "NLST": transfer, "MLSD": transfer,
}

// notOffered tells the commands that are answered by 502 here, and the advice that goes with it. Each
// would open a data connection that nobody here reads, or make the control
// connection unreadable. They leave FEAT as well.
var notOffered = map[string]string{
	"AUTH": noTLS, "PBSZ": noTLS, "PROT": noTLS, "CCC": noTLS,
	"ADAT": noTLS, "MIC": noTLS, "CONF": noTLS, "ENC": noTLS,
	"HOST": "go on without it",
	"LPSV": usePassive, "LPRT": usePassive, "SPSV": usePassive, "SPAS": usePassive, "SPOR": usePassive,
	"CPSV": usePassive, "SSCN": usePassive, "CEPR": usePassive, "ESTA": usePassive, "ESTP": usePassive,
}

const (
	noTLS      = "this connection is inside SSH already"
	usePassive = "use passive mode (PASV or EPSV)"
)

// plan says what becomes of c in the present state. It changes nothing.
func (s *Session) plan(c command) plan {
	if c.refusal != "" {
		return answer(c.refusal)
	}
	if s.opt.offers(c.verb) {
		return planAuth(c)
	}
	if advice, ok := notOffered[c.verb]; ok {
		return answer("502 " + c.verb + " is not offered here, " + advice)
	}
	judged, ok := s.judge(c)
	if !ok {
		return judged
	}
	switch c.verb {
	case "REIN":
		if s.secured {
			return answer("502 REIN is not offered here, as it would end TLS with the server: connect again")
		}
	case "PASV", "P@SW":
		return s.planPASV()
	case "EPSV":
		return s.planEPSV(c)
	case "PORT", "EPRT":
		return s.planActive(c)
	case "MODE":
		return planMODE(c)
	case "USER", "OPEN", "SITE", "CWD":
		if s.opt.Means != nil && !c.said {
			arg, refusal := s.opt.Means(c.verb, c.arg())
			if refusal != "" {
				return answer(refusal)
			}
			if arg != c.arg() {
				c.rest = " " + arg
			}
		}
	}
	if k := kinds[c.verb]; k != plain {
		judged.entry.kind, judged.entry.name = k, c.arg()
	}
	if judged.entry.kind == transfer && !(s.live && (!s.used || s.block)) {
		return answer("425 Use PORT or PASV first")
	}
	judged.line = c.verb + c.rest
	return judged
}

const answerOnlyEPSV = "503 EPSV ALL is in force, use EPSV"

func (s *Session) planPASV() plan {
	switch {
	case s.epsvAll:
		return answer(answerOnlyEPSV)
	case !s.opt.Hop.Is4():
		return answer("425 PASV can't name an IPv6 address, use EPSV")
	}
	return s.planPassive(PASV, "PASV")
}

// planPassive sends a PASV or EPSV up, unless it is known that this server has only active mode.
func (s *Session) planPassive(mode Mode, verb string) plan {
	if s.activeOnly && !s.epsvAll {
		return plan{entry: entry{kind: active, mode: mode}}
	}
	return plan{entry{kind: passive, mode: mode, verb: verb}, verb}
}

// planEPSV checks the family here: it is that of the client's hop, and the server's
// may be another. RFC 2428, section 3.
func (s *Session) planEPSV(c command) plan {
	arg := strings.ToUpper(strings.Trim(c.rest, " "))
	switch {
	case arg == "", arg == family(s.opt.Hop):
		return s.planPassive(EPSV, "EPSV")
	case arg == "ALL":
		return plan{entry{kind: epsvAll}, "EPSV ALL"}
	case decimals(arg):
		return answer(otherFamily(s.opt.Hop))
	}
	return answer("501 EPSV takes 1, 2 or ALL")
}

// family returns the number of an address's family (RFC 2428, section 2), or "" if the address isn't known.
func family(a netip.Addr) string {
	switch {
	case a.Is4():
		return "1"
	case a.Is6():
		return "2"
	}
	return ""
}

// otherFamily refuses any family but that of a.
func otherFamily(a netip.Addr) string {
	return "522 Network protocol not supported, use (" + family(a) + ")"
}

// planMODE lets the modes of RFC 959 and the compressed one pass, whose data connections the two programs carry
// unread. E is a proposal that was never taken up, and leaves the ends of files to who knows what.
func planMODE(c command) plan {
	switch mode := strings.ToUpper(c.arg()); mode {
	case "S", "Z":
		return plan{entry{kind: modeChange, coded: mode == "Z"}, "MODE " + mode}
	case "B", "C":
		return plan{entry{kind: modeChange, coded: true, block: true}, "MODE " + mode}
	case "":
		return answer("501 MODE takes an argument")
	}
	return answer("504 MODE is S, B, C or Z here")
}

func decimals(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// escape is %q without the quotes, for what is a value of its own, in which a quote needs no escape.
func escape(p string) string {
	q := strconv.Quote(p)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}
