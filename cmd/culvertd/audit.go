package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/config"
)

// openAudit opens the audit log of the server. The caller must close it.
func (p program) openAudit(s config.Settings, log *slog.Logger) (*audit.Log, error) {
	if s.AuditLog == "" {
		events := audit.New(p.stderr, time.Now)
		events.SetContinue(s.AuditContinue)
		return events, nil
	}
	return audit.Open(s.AuditLog, audit.Options{Continue: s.AuditContinue, Log: log})
}

// sayHead puts the head of the audit log's chain into the log, where whoever tampers with the one may not get at the other.
func (d *daemon) sayHead(when string) {
	if s := d.events.State(); s.Lines > 0 {
		d.log.Info("audit log", "at", when, "lines", s.Lines, "head", s.Head)
	}
}

// errBroken is what audit verify ends with if something is wrong. It has been said.
var errBroken = errors.New("the audit log is not intact")

// audit reads an audit log: culvertd audit [verify|show conn] file ....
func (p program) audit(args []string) error {
	err := func() error {
		if len(args) > 0 {
			switch args[0] {
			case "verify":
				return p.auditVerify(args[1:])
			case "show":
				return p.auditShow(args[1:])
			}
		}
		return p.auditFilter(args)
	}()
	if err == nil || errors.Is(err, errBroken) || errors.Is(err, pflag.ErrHelp) {
		return err
	}
	return &noAnswer{err}
}

// parse reads a command line, or prints what there is to be said of it.
func (p program) parse(f *pflag.FlagSet, args []string) error {
	err := f.Parse(args)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		command, _, _ := strings.Cut(f.Name(), " ")
		_, failed := io.WriteString(p.stdout, synopsisOf(command).help())
		return errors.Join(err, failed)
	case err != nil:
		return &usageError{err.Error()}
	}
	return nil
}

// auditVerify proves that nothing is missing: culvertd audit verify [--head hash] file ....
func (p program) auditVerify(args []string) error {
	var head string
	f := newFlags("audit verify")
	f.StringVar(&head, "head", "", "")
	if err := p.parse(f, args); err != nil {
		return err
	}
	v := audit.NewVerifier()
	v.Noted(head)
	if err := p.eachAudit(f.Args(), v.File); err != nil {
		return err
	}
	r := v.Report()
	out := bufio.NewWriter(p.stdout)
	for _, at := range r.Torn {
		fmt.Fprintf(out, "%s: torn by a crash or a full disk, as the log itself says\n", at)
	}
	for _, problem := range r.Problems {
		fmt.Fprintf(out, "%s: %s\n", problem.At, problem.Text)
	}
	if r.More > 0 {
		fmt.Fprintf(out, "and %d more\n", r.More)
	}
	broken := len(r.Problems) > 0
	switch {
	case head == "":
	case r.NotedAt == "":
		broken = true
		fmt.Fprintf(out, "no line has the hash %s: the end that was noted is not there\n", head)
	default:
		fmt.Fprintf(out, "the noted head is %s\n", r.NotedAt)
	}
	if r.Lines == 0 && !broken {
		broken = true
		fmt.Fprintln(out, "there is no line")
	}
	if r.From != "" {
		fmt.Fprintf(out, "continues %s\n", r.From)
	}
	state := "intact"
	if broken {
		state = "broken"
	}
	fmt.Fprintf(out, "%s: %d lines, the last is number %d, head %s\n", state, r.Lines, r.Last, r.Head)
	if err := out.Flush(); err != nil {
		return err
	}
	if broken {
		return errBroken
	}
	return nil
}

// auditFilter prints the events that fit, as they are: culvertd audit [--user user] ... file ....
func (p program) auditFilter(args []string) error {
	var filter audit.Filter
	var since, until, client string
	f := newFlags("audit")
	f.StringVar(&filter.User, "user", "", "")
	f.StringVar(&filter.Conn, "conn", "", "")
	f.StringVar(&filter.Event, "event", "", "")
	f.StringVar(&since, "since", "", "")
	f.StringVar(&until, "until", "", "")
	f.StringVar(&client, "client", "", "")
	f.BoolVar(&filter.Denied, "denied", false, "")
	if err := p.parse(f, args); err != nil {
		return err
	}
	var err error
	if filter.Since, err = parseWhen(since, time.Now()); err != nil {
		return &usageError{"--since: " + err.Error()}
	}
	if filter.Until, err = parseWhen(until, time.Now()); err != nil {
		return &usageError{"--until: " + err.Error()}
	}
	if filter.Client, err = parseNetwork(client); err != nil {
		return &usageError{"--client: " + err.Error()}
	}
	out := bufio.NewWriter(p.stdout)
	err = p.eachAudit(f.Args(), func(name string, r io.Reader) error {
		foreign, err := filter.Select(out, r)
		p.sayForeign(name, foreign)
		return err
	})
	return errors.Join(err, out.Flush())
}

// auditShow shows a connection to a person: culvertd audit show conn file ....
func (p program) auditShow(args []string) error {
	f := newFlags("audit show")
	if err := p.parse(f, args); err != nil {
		return err
	}
	if f.NArg() < 2 {
		return &usageError{"audit show wants a connection and the audit log"}
	}
	out := bufio.NewWriter(p.stdout)
	show := audit.Show{W: out, Conn: f.Arg(0), Color: onTerminal(p.stdout), Location: time.Local}
	err := p.eachAudit(f.Args()[1:], func(name string, r io.Reader) error {
		foreign, err := show.File(r)
		p.sayForeign(name, foreign)
		return err
	})
	if err = errors.Join(err, out.Flush()); err == nil && show.Found() == 0 {
		return fmt.Errorf("there is no connection %q in it", f.Arg(0))
	}
	return err
}

func onTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == ""
}

func (p program) sayForeign(name string, lines int) {
	if lines > 0 {
		fmt.Fprintf(p.stderr, "culvertd: %s: %d lines are no events; \"culvertd audit verify\" says which\n", name, lines)
	}
}

// eachAudit reads one file after another, each as it is now; "-" is the standard input.
func (p program) eachAudit(names []string, read func(name string, r io.Reader) error) error {
	if len(names) == 0 {
		return &usageError{"audit wants a file: the one that AuditLog names"}
	}
	for _, name := range names {
		if err := p.readAudit(name, read); err != nil {
			return err
		}
	}
	return nil
}

func (p program) readAudit(name string, read func(name string, r io.Reader) error) error {
	if name == "-" {
		return read(name, p.stdin)
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := settled(f)
	if err != nil {
		return err
	}
	if size < 0 {
		return read(name, f)
	}
	return read(name, io.LimitReader(f, size))
}

// settled returns the size of a file when nobody is in the middle of a line, or -1 if it is no file.
func settled(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return -1, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH); err != nil {
		return info.Size(), nil // a file system without locks, where the last line may be half written
	}
	defer func() { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }() // closing it does the same
	if info, err = f.Stat(); err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// parseWhen reads a time: a date, a date and a time, or a duration before now. An empty text is no time.
func parseWhen(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(-d), nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01-02 15:04", time.DateTime} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: write 2026-11-25, \"2026-11-25 14:30\", 2026-11-25T14:30:00Z, or 2h for two hours ago", text)
}

// parseNetwork reads an address or a network. An empty text is none.
func parseNetwork(text string) (netip.Prefix, error) {
	if text == "" {
		return netip.Prefix{}, nil
	}
	if a, err := netip.ParseAddr(text); err == nil {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	n, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a network", text)
	}
	return n, nil
}
