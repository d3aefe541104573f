package audit

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the events into docs/audit.md")

const (
	docFile  = "../docs/audit.md"
	docBegin = "<!-- What follows is written by go test ./audit -run Documented -update. -->\n"
	docEnd   = "<!-- That was it. -->\n"
)

// TestEventsAreDocumented holds that docs/audit.md lists the events as they are: their fields, types and examples come from the
// code, what they mean from its comments.
func TestEventsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile(docFile)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(doc), docBegin)
	got, tail, ok2 := strings.Cut(rest, docEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the events", docFile)
	}
	want := events(t)
	if got == want {
		return
	}
	if !*update {
		t.Fatalf("%s isn't what the code is: run go test ./audit -run Documented -update, and read the difference", docFile)
	}
	if err := os.WriteFile(docFile, []byte(head+docBegin+want+docEnd+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestEveryEventTypeIsAKind(t *testing.T) {
	declared := comments(t)
	delete(declared, "Conn")
	for _, e := range kinds {
		delete(declared, reflect.TypeOf(e).Name())
		if typeOf[e.EventName()] != reflect.TypeOf(e) {
			t.Errorf("two events are called %q", e.EventName())
		}
	}
	for name := range declared {
		t.Errorf("%s is in no list of events", name)
	}
}

// TestExamplesReadBack holds that what is written is what is read.
func TestExamplesReadBack(t *testing.T) {
	for _, e := range kinds {
		x := example(t, e)
		var b bytes.Buffer
		if err := New(&b, time.Now).Write(x); err != nil {
			t.Fatal(err)
		}
		back, err := decode(e.EventName(), b.Bytes())
		if err != nil || !reflect.DeepEqual(back, x) {
			t.Errorf("%s reads back as %+v, %v; want %+v", b.String(), back, err, x)
		}
	}
}

func TestShowDescribesAnEventThatItHasNoWordsFor(t *testing.T) {
	_, got := describeOther(FTPTransfer{Control: "1-1", Path: "a b", Bytes: 7, Result: "complete"})
	if want := `ftp.transfer control="1-1" path="a b" bytes=7 result="complete"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// documented is what the source says of a type.
type documented struct {
	text   string
	fields map[string]string
}

// comments reads the comments of events.go.
func comments(t *testing.T) map[string]documented {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "events.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]documented)
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.TYPE {
			continue
		}
		spec := g.Specs[0].(*ast.TypeSpec)
		body, ok := spec.Type.(*ast.StructType)
		if !ok {
			continue
		}
		name := spec.Name.Name
		text := strings.TrimPrefix(strings.TrimPrefix(strings.Join(strings.Fields(g.Doc.Text()), " "), name), ":")
		doc := documented{text: strings.TrimSpace(text), fields: make(map[string]string)}
		for _, field := range body.Fields.List {
			if len(field.Names) == 1 {
				doc.fields[field.Names[0].Name] = strings.TrimSpace(field.Comment.Text())
			}
		}
		all[name] = doc
	}
	return all
}

// events writes the section of the document.
func events(t *testing.T) string {
	t.Helper()
	docs := comments(t)
	var b strings.Builder
	for _, e := range kinds {
		typ := reflect.TypeOf(e)
		doc := docs[typ.Name()]
		text := strings.ToUpper(doc.text[:1]) + doc.text[1:]
		fmt.Fprintf(&b, "\n### %s\n\n%s\n\n| field | type | |\n| --- | --- | --- |\n", e.EventName(), text)
		for i := range typ.NumField() {
			f := typ.Field(i)
			if f.Anonymous {
				fmt.Fprintf(&b, "| `conn`, `client`, `user` | | the connection, see above |\n")
				continue
			}
			b.WriteString(row(t, f, doc.fields[f.Name]))
		}
		var line bytes.Buffer
		if err := New(&line, func() time.Time { return time.Date(2026, 11, 25, 14, 3, 7, 512e6, time.UTC) }).Write(example(t, e)); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "\n```json\n%s```\n", line.String())
	}
	b.WriteString("\n")
	return b.String()
}

// row is the row of one field.
func row(t *testing.T, f reflect.StructField, meaning string) string {
	t.Helper()
	if meaning == "" {
		t.Errorf("the field %s has no comment", f.Name)
	}
	name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
	typ, ok := map[reflect.Type]string{
		reflect.TypeFor[string]():           "string",
		reflect.TypeFor[bool]():             "boolean",
		reflect.TypeFor[int]():              "integer",
		reflect.TypeFor[int64]():            "integer",
		reflect.TypeFor[uint64]():           "integer",
		reflect.TypeFor[float64]():          "number",
		reflect.TypeFor[netip.Addr]():       "address",
		reflect.TypeFor[netip.AddrPort]():   "address:port",
		reflect.TypeFor[netip.Prefix]():     "network",
		reflect.TypeFor[[]netip.AddrPort](): "list of address:port",
	}[f.Type]
	if !ok {
		t.Errorf("the field %s has the type %v, which nobody knows", f.Name, f.Type)
	}
	if option != "" {
		typ += ", optional"
	}
	return fmt.Sprintf("| `%s` | %s | %s |\n", name, typ, strings.ReplaceAll(meaning, "|", "\\|"))
}

// example returns an event with something in every field.
func example(t *testing.T, e Event) Event {
	t.Helper()
	v := reflect.New(reflect.TypeOf(e)).Elem()
	fill(t, v, e.EventName())
	return v.Interface().(Event)
}

func fill(t *testing.T, v reflect.Value, event string) {
	t.Helper()
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous {
			fill(t, v.Field(i), event)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		value, ok := samples[event+" "+name]
		if !ok {
			value, ok = samples[name]
		}
		if !ok {
			t.Errorf("there is no example of %s in %s", name, event)
			continue
		}
		v.Field(i).Set(reflect.ValueOf(value).Convert(f.Type))
	}
}

// samples are the values in the examples: of a field of one event, or of a field wherever it is.
var samples = map[string]any{
	"conn": "12", "client": netip.MustParseAddrPort("203.0.113.7:52311"), "user": "alice",
	"local": netip.MustParseAddrPort("192.0.2.1:22"), "proxy": netip.MustParseAddrPort("192.0.2.80:41002"),
	"request": "12-3", "control": "12-1", "type": "direct-tcpip", "target": "ftp.corp:21",
	"address": netip.MustParseAddrPort("10.1.60.4:21"), "rule": "/etc/culvert/sshd_config:12", "result": "done", "seconds": 12.482,
	"reason": "closed by the client", "up": 1024, "down": 52311, "count": 17, "bytes": 1048576, "code": 226,
	"method": "publickey", "key": "SHA256:0Vt3ZTBmPXMMhAFAT1iNUdIDLQzs4jXmGbCqOe3bQhc", "certificate": "alice@corp", "serial": "4711",
	"ca":    "SHA256:cXoX2v5vXUBKvnVVoBz8pMZHWGNYWTJJBNZ3aCYVGkE",
	"first": "11", "most": 8, "stripes": 6,
	"side.refused reason": "no connection of this user and address has made this key",
	"class":               "read", "command": "SIZE", "path": "/pub/report.csv", "by": "server", "login": "anna", "direction": "download",
	"source": netip.MustParsePrefix("203.0.113.7/32"), "active": true, "bound": []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:8080")},
	"file": "/etc/culvert/sshd_config", "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
	"session.started program": "subsystem", "session.started name": "sftp", "sftp.opened mode": "read",
	"sftp.changed command": "rename", "sftp.changed target": "/pub/old.csv",
	"session.refused reason": "no such subsystem is offered here",
	"action":                 "start", "detail": "culvertd 1.0", "lost": 41, "since": "2026-11-25T14:02:51.004Z",
	"reply": "227 Entering Passive Mode (10,1,60,99,6,12)", "named": netip.MustParseAddr("10.1.60.99"), "ftp": "control",

	"audit.opened file": "/var/log/culvert/audit.jsonl", "audit.torn bytes": 118, "audit.lost reason": "no space left on device",
	"reload reason": "sshd_config:12: PermitOpen: port \"70000\" is out of range", "reload result": "refused",
	"authentication result": "accepted", "authentication rule": "/etc/culvert/authorized_keys/alice:1", "authentication reason": "there is no such key",
	"channel.decided result": "allowed", "channel.decided reason": "PermitOpen", "channel.refused reason": "DenyOpen",
	"channel.closed result": "aborted", "channel.closed reason": "connection reset by peer",
	"connection.refused reason": "MaxStartups", "penalty class": "authfail",
	"listen.opened target": "localhost:8080", "listen.refused target": "0.0.0.0:80", "listen.refused reason": "no PermitListen permits it",
	"ftp.command command": "RETR", "ftp.command code": 550, "ftp.command class": "read", "ftp.command by": "bastion", "ftp.command path": "../secret/plan.csv",
	"number": "12-1.1", "resolved": "/secret/plan.csv", "ftp.command reason": "FTPDeny /secret", "ftp.transfer command": "RETR", "ftp.transfer result": "complete", "ftp.transfer reason": "the client sent ABOR",
	"ftp.announced address": netip.MustParseAddrPort("10.1.60.4:1548"), "ftp.consumed address": netip.MustParseAddrPort("10.1.60.4:1548"),
	"ftp.listening address": netip.MustParseAddrPort("10.1.60.1:40001"), "ftp.listening server": netip.MustParseAddr("10.1.60.4"),
	"ftp.listening waiting": netip.MustParseAddrPort("127.0.0.1:51210"),
	"ftp.connected address": netip.MustParseAddrPort("10.1.60.1:40001"), "ftp.connected from": netip.MustParseAddrPort("10.1.60.4:20"),
	"ftp.expired address": netip.MustParseAddrPort("10.1.60.4:1548"), "ftp.expired dialled": true, "ftp.expired reason": "nobody came in 1m0s",
	"protection": "TLS 1.3, verified", "ftp.protection reason": `the server takes no TLS, and the session goes on in the clear: "500 AUTH not understood"`,
	"ftp.refused reason": "TLS with the FTP server: its certificate is for \"files.corp\", not for \"ftp.corp\": ask for the server by a name in it",
}
