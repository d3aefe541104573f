package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/culvert-ssh/culvert/admin"
	"github.com/culvert-ssh/culvert/channels"
	"github.com/culvert-ssh/culvert/config"
)

// ctl asks the running bastion, or tells it to do something: culvertd ctl list|show ID|kill ID|drain|reload|unban ADDR.
func (p program) ctl(args []string) error {
	var (
		file, socket string
		over         time.Duration
		asJSON       bool
	)
	f := newFlags("ctl")
	f.StringVarP(&file, "config", "f", defaultConfig, "")
	f.StringVarP(&socket, "socket", "s", "", "")
	f.DurationVar(&over, "over", time.Second, "")
	f.BoolVar(&asJSON, "json", false, "")
	if err := p.parse(f, args); err != nil {
		return err
	}
	i := indexCommand(f.Args())
	if i < 0 {
		return &usageError{"ctl wants list, show ID, kill ID, drain, reload or unban ADDRESS"}
	}
	if socket == "" {
		loaded, err := config.Load(file, nil)
		if err != nil {
			return fmt.Errorf("look for ControlSocket: %w", err)
		}
		if socket = loaded.Config.Global().ControlSocket; socket == "" {
			return fmt.Errorf("%s has no ControlSocket: name one there, or with -s", file)
		}
	}
	c := control{client: admin.NewClient(socket), over: over, show: func(w io.Writer, all []admin.Connection, one bool) error {
		return errors.Join(writeText(w, all, one), writeDraining(w, socket))
	}}
	if asJSON {
		c.show = writeJSON
	}
	return ctlCommands[i].run(c, p.stdout, strings.Join(f.Args()[1:], " "))
}

// control is the connection to a running bastion.
type control struct {
	client *admin.Client
	over   time.Duration // for which rates are measured
	show   func(w io.Writer, all []admin.Connection, one bool) error
}

// ctlCommands are what ctl does, with a word after it or without.
var ctlCommands = []struct {
	name string
	word bool
	run  func(c control, w io.Writer, word string) error
}{
	{"list", false, func(c control, w io.Writer, _ string) error {
		all, err := c.client.Connections(c.over)
		if err != nil {
			return err
		}
		return c.show(w, all, false)
	}},
	{"show", true, func(c control, w io.Writer, id string) error {
		one, err := c.client.Connection(id, c.over)
		if err != nil {
			return err
		}
		return c.show(w, []admin.Connection{one}, true)
	}},
	{"kill", true, func(c control, _ io.Writer, id string) error { return c.client.Kill(id) }},
	{"drain", false, func(c control, _ io.Writer, _ string) error { return c.client.Drain() }},
	{"reload", false, func(c control, _ io.Writer, _ string) error { return c.client.Reload() }},
	{"unban", true, func(c control, _ io.Writer, word string) error {
		addr, err := netip.ParseAddr(word)
		if err != nil {
			return &usageError{fmt.Sprintf("unban wants an address, not %q", word)}
		}
		return c.client.Unban(addr)
	}},
}

func indexCommand(args []string) int {
	for i, c := range ctlCommands {
		if len(args) > 0 && args[0] == c.name && (len(args) == 2) == c.word && len(args) <= 2 {
			return i
		}
	}
	return -1
}

// writeJSON writes what the socket answers: a list, or the one connection.
func writeJSON(w io.Writer, all []admin.Connection, one bool) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	if one {
		return encoder.Encode(all[0])
	}
	return encoder.Encode(append([]admin.Connection{}, all...))
}

// writeText writes a line for each connection, and under it one for each channel.
func writeText(w io.Writer, all []admin.Connection, one bool) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "nobody is connected")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tUSER\tFROM\tSINCE\tUP\tDOWN\tUP/s\tDOWN/s\tWHAT")
	for _, c := range all {
		user := c.User
		if user == "" {
			user = "(not authenticated)"
		}
		what := count(len(c.Channels), "channel")
		if c.First != "" {
			what = "stripes of " + c.First
		}
		row(t, c.ID, user, c.Client.String(), c.Since, c.Up, c.Down, admin.Rate{Up: c.UpRate, Down: c.DownRate}, what)
		for _, ch := range c.Channels {
			row(t, ch.Request, "", "", ch.Since, ch.Up, ch.Down, c.Rates[ch.Request], describe(ch))
		}
	}
	if err := t.Flush(); err != nil || !one {
		return err
	}
	_, err := fmt.Fprintf(w, "key %s, to %s, client %q\n", orNone(all[0].Key), all[0].Local, all[0].Software)
	return err
}

// writeDraining names the processes that have handed over and serve their last connections, each at a socket of its own.
func writeDraining(w io.Writer, socket string) error {
	sockets, err := filepath.Glob(socket + ".*")
	if err != nil { // there is a bracket in the path
		return nil
	}
	for _, path := range sockets {
		pid, err := strconv.Atoi(path[len(socket)+1:])
		if err != nil || !answers(path) { // a process that was killed leaves its socket behind
			continue
		}
		if _, err := fmt.Fprintf(w, "process %d drains: ask it with -s %s\n", pid, path); err != nil {
			return err
		}
	}
	return nil
}

// answers reports whether somebody listens on a socket.
func answers(path string) bool {
	c, err := net.Dial("unix", path)
	if err != nil {
		return false
	}
	return c.Close() == nil
}

func row(w io.Writer, id, user, from string, since time.Time, up, down int64, r admin.Rate, what string) {
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", id, user, from, when(since, time.Now()),
		size(float64(up)), size(float64(down)), size(r.Up), size(r.Down), what)
}

// when writes a time: that of the day if it is today's, otherwise the day.
func when(t, now time.Time) string {
	t, now = t.Local(), now.Local()
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format(time.TimeOnly)
	}
	return t.Format(time.DateOnly)
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// describe says what a channel is. What a client has spelled is quoted if there is anything odd in it.
func describe(ch channels.Info) string {
	words := []string{ch.Type}
	if ch.FTP != "" {
		words[0] = "FTP " + ch.FTP
	}
	if ch.Target != "" {
		words = append(words, printable(ch.Target))
	}
	if ch.Address.IsValid() && ch.Address.String() != ch.Target {
		words = append(words, "at "+ch.Address.String())
	}
	if ch.Rule != "" {
		words = append(words, "by "+ch.Rule)
	}
	if ch.Stripes > 0 {
		words = append(words, "over "+count(ch.Stripes, "stripe"))
	}
	return strings.Join(words, " ")
}

func printable(s string) string {
	if quoted := fmt.Sprintf("%q", s); quoted != `"`+s+`"` {
		return quoted
	}
	return s
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// size writes a number of bytes with three digits or so.
func size(n float64) string {
	unit := 0
	for n >= 1000 && unit < len(units)-1 {
		n /= 1000
		unit++
	}
	if unit == 0 {
		return fmt.Sprintf("%.0f", n)
	}
	return fmt.Sprintf("%.1f%s", n, units[unit])
}

var units = []string{"", "k", "M", "G", "T", "P"}
