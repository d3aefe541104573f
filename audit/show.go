package audit

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// A Show writes what happened on one connection as a person reads it.
type Show struct {
	W    io.Writer
	Conn string // of the connection, or the number of a request on it
	// Color marks what was refused or failed, for a terminal.
	Color bool
	// Location is that of the times shown. If nil, UTC is.
	Location *time.Location

	day   string
	found int
}

// File shows what r has of the connection, and returns how many lines are no events. The files of one log come one after
// another, the oldest first.
func (s *Show) File(r io.Reader) (foreign int, err error) {
	conn, _, _ := strings.Cut(s.Conn, "-") // request 12-3 is one of connection 12
	return eachEvent(r, func(line []byte) (bool, error) {
		var head fields
		if json.Unmarshal(line, &head) != nil || head.Event == "" {
			return false, nil
		}
		if head.Conn != conn {
			return true, nil
		}
		s.found++
		e, err := decode(head.Event, line)
		if err != nil { // of a newer version
			return true, s.line(head.Time, tone{}, head.Event+" "+string(line))
		}
		return true, s.event(head.Time, e)
	})
}

// Found returns how many events were shown.
func (s *Show) Found() int { return s.found }

// tone is how a line is shown.
type tone struct {
	depth int  // 1 under a connection, 2 under a channel
	bad   bool // refused, failed or aborted
}

func (s *Show) event(at time.Time, e Event) error {
	if _, ok := e.(ConnectionOpened); ok && s.found > 1 {
		if _, err := fmt.Fprintln(s.W); err != nil {
			return err
		}
	}
	t, text := describe(e)
	return s.line(at, t, text)
}

// line writes one line. Nothing in it reaches a terminal as anything but text, whatever is in the file.
func (s *Show) line(at time.Time, t tone, text string) error {
	if s.Location == nil {
		s.Location = time.UTC
	}
	at = at.In(s.Location)
	if day := at.Format("Monday, 2 January 2006, MST"); day != s.day {
		s.day = day
		if _, err := fmt.Fprintln(s.W, day); err != nil {
			return err
		}
	}
	text = strings.Repeat("  ", t.depth) + harmless(text)
	if s.Color && t.bad {
		text = "\x1b[31m" + text + "\x1b[0m"
	}
	_, err := fmt.Fprintf(s.W, "%s  %s\n", at.Format("15:04:05.000"), text)
	return err
}

// harmless escapes what isn't printable.
func harmless(text string) string {
	var b strings.Builder
	for _, r := range text {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		}
	}
	return b.String()
}

// describe says what happened. Whatever a peer has written is quoted.
func describe(e Event) (tone, string) {
	switch e := e.(type) {
	case ConnectionOpened:
		text := fmt.Sprintf("connection %s from %v, at %v", e.ID, e.Client, e.Local)
		if e.Proxy.IsValid() {
			text += fmt.Sprintf(", through the proxy %v", e.Proxy)
		}
		return tone{}, text
	case Authentication:
		return tone{1, e.Result == "refused"}, describeAuthentication(e)
	case StripesGranted:
		return tone{1, false}, fmt.Sprintf("may have up to %d side connections, with the key %s", e.Most, e.Key)
	case SideAccepted:
		return tone{1, false}, fmt.Sprintf("accepted %q as a side connection of connection %s, by %s", e.User, e.First, e.Key)
	case SideRefused:
		return tone{1, true}, fmt.Sprintf("refused %q as a side connection%s", e.User, why(e.Reason))
	case ConnectionClosed:
		return tone{}, fmt.Sprintf("connection closed after %s%s: %s", seconds(e.Seconds), by(e.Rule), e.Reason)
	case ListenOpened:
		return tone{1, false}, fmt.Sprintf("%s listens at %q, bound %v%s", e.Request, e.Target, e.Bound, by(e.Rule))
	case ListenRefused:
		return tone{1, true}, fmt.Sprintf("%s may not listen at %q%s: %s", e.Request, e.Target, by(e.Rule), e.Reason)
	case ListenClosed:
		return tone{1, false}, fmt.Sprintf("%s listens no more%s", e.Request, why(e.Reason))
	}
	if t, text := describeChannel(e); text != "" {
		return t, text
	}
	if t, text := describeSession(e); text != "" {
		return t, text
	}
	return describeFTP(e)
}

func describeAuthentication(e Authentication) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q by %s", e.Result, e.User, word(e.Method))
	if e.Key != "" {
		b.WriteString(" " + e.Key)
	}
	if e.CA != "" {
		fmt.Fprintf(&b, ", certificate %q serial %s of %s", e.Certificate, e.Serial, e.CA)
	}
	return b.String() + by(e.Rule) + why(e.Reason)
}

func describeChannel(e Event) (tone, string) {
	switch e := e.(type) {
	case ChannelAsked:
		return tone{1, false}, fmt.Sprintf("%s asks for %s%s", e.Request, e.Type, to(e.Target))
	case ChannelDecided:
		return tone{2, e.Result == "denied"}, fmt.Sprintf("%s %v%s%s", e.Result, e.Address, by(e.Rule), why(e.Reason))
	case ChannelRefused:
		return tone{1, true}, fmt.Sprintf("%s refused, %s%s%s%s", e.Request, word(e.Type), to(e.Target), by(e.Rule), why(e.Reason))
	case ChannelOpened:
		text := e.Request + " open, " + e.Type
		if e.FTP != "" {
			text += ", FTP " + e.FTP + " connection"
		}
		if e.Address.IsValid() {
			text += fmt.Sprintf(", %v", e.Address)
		}
		return tone{1, false}, text + by(e.Rule)
	case ChannelClosed:
		over := ""
		if e.Stripes > 0 {
			over = fmt.Sprintf(" over %d stripes", e.Stripes)
		}
		return tone{1, e.Result != "clean"}, fmt.Sprintf("%s closed, %s after %s, %s up, %s down%s%s%s",
			e.Request, e.Result, seconds(e.Seconds), size(e.Up), size(e.Down), over, by(e.Rule), why(e.Reason))
	}
	return tone{}, ""
}

func describeSession(e Event) (tone, string) {
	switch e := e.(type) {
	case SessionStarted:
		return tone{2, false}, strings.TrimSpace(fmt.Sprintf("%s starts the %s %s", e.Request, e.Program, e.Name))
	case SessionRefused:
		return tone{2, true}, fmt.Sprintf("%s gets nothing: %s", e.Request, e.Reason)
	case SFTPOpened:
		return tone{2, false}, fmt.Sprintf("%s opens %q, %s", e.Request, e.Path, e.Mode)
	case SFTPClosed:
		return tone{2, false}, fmt.Sprintf("%s closes %q, %s up, %s down", e.Request, e.Path, size(e.Up), size(e.Down))
	case SFTPChanged:
		return tone{2, false}, fmt.Sprintf("%s asks for %s %q%s", e.Request, e.Command, e.Path, to(e.Target)) // what came of it is not on record
	}
	return tone{}, ""
}

func describeFTP(e Event) (tone, string) {
	switch e := e.(type) {
	case FTPProtection:
		return tone{2, false}, fmt.Sprintf("%s speaks to the server: %s%s%s", e.Control, e.Protection, by(e.Rule), why(e.Reason))
	case FTPLogin:
		return tone{2, false}, fmt.Sprintf("%s FTP login %q", e.Control, e.Login)
	case FTPCommand:
		answer := "no answer"
		if e.Code != 0 {
			answer = strconv.Itoa(e.Code)
		}
		if e.By == "bastion" {
			answer += " from the bastion"
		}
		if e.Number != "" {
			answer += fmt.Sprintf(", number %s%s%s%s", e.Number, to(e.Resolved), by(e.Rule), why(e.Reason))
		}
		return tone{2, e.Code == 0 || e.Code >= 400}, fmt.Sprintf("%s %s%s: %s", e.Control, e.Command, to(e.Path), answer)
	case FTPTransfer:
		how := ""
		if e.Protection != "" {
			how = ", " + e.Protection
		}
		return tone{2, e.Result != "complete"}, fmt.Sprintf("%s %s%s %s, %s in %s%s%s",
			e.Control, e.Direction, to(e.Path), e.Result, size(e.Bytes), seconds(e.Seconds), how, why(e.Reason))
	case FTPAnnounced:
		return tone{2, false}, fmt.Sprintf("%s expects a data connection to %v, as the server said %q", e.Control, e.Address, e.Reply)
	case FTPListening:
		text := fmt.Sprintf("%s waits at %v for the data connection of %v", e.Control, e.Address, e.Server)
		if e.Waiting.IsValid() {
			text += fmt.Sprintf(", for a client at %v", e.Waiting)
		}
		return tone{2, false}, text
	case FTPConnected:
		return tone{2, false}, fmt.Sprintf("%s has a data connection from %v, at %v", e.Control, e.From, e.Address)
	case FTPConsumed:
		return tone{2, false}, fmt.Sprintf("%s gets its data connection to %v by %s", e.Control, e.Address, e.Request)
	case FTPExpired:
		return tone{2, false}, fmt.Sprintf("%s expects none to %v any more%s", e.Control, e.Address, why(e.Reason))
	case FTPRefused:
		return tone{2, true}, fmt.Sprintf("%s refused%s: %s", e.Control, by(e.Rule), e.Reason)
	}
	return describeOther(e)
}

// describeOther describes an event by its fields.
func describeOther(e Event) (tone, string) {
	var b strings.Builder
	b.WriteString(e.EventName())
	v := reflect.ValueOf(e)
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous || v.Field(i).IsZero() {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		verb := "%v"
		if f.Type.Kind() == reflect.String {
			verb = "%q"
		}
		fmt.Fprintf(&b, " %s="+verb, name, v.Field(i))
	}
	return tone{2, strings.HasSuffix(e.EventName(), ".refused")}, b.String()
}

// word is a name of the SSH protocol as it is, and quoted if it can't be one: it might read on like a sentence of ours.
func word(name string) string {
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.@") != "" {
		return strconv.Quote(name)
	}
	return name
}

func by(rule string) string {
	if rule == "" {
		return ""
	}
	return " (" + rule + ")"
}

func why(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

func to(target string) string {
	if target == "" {
		return ""
	}
	return fmt.Sprintf(" %q", target)
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Millisecond).String()
}

// size writes a number of bytes with a comma after every third digit.
func size(n int64) string {
	digits := strconv.FormatInt(n, 10)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 && digits[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	if n == 1 {
		return b.String() + " byte"
	}
	return b.String() + " bytes"
}
