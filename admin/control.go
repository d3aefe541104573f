package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/culvert-ssh/culvert/server"
)

// Connection is one SSH connection as the control socket shows it.
type Connection struct {
	server.Info
	UpRate   float64         `json:"up_rate"`   // bytes a second from the client, over the time that was asked for
	DownRate float64         `json:"down_rate"` // and to it
	Rates    map[string]Rate `json:"rates"`     // of the channels, by their request numbers
}

// Rate is in bytes a second.
type Rate struct {
	Up   float64 `json:"up"`
	Down float64 `json:"down"`
}

// maxOver bounds for how long rates are measured.
const maxOver = 10 * time.Second

// handler serves the control socket.
func (b *Bastion) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /connections", b.list)
	mux.HandleFunc("GET /connections/{id}", b.show)
	mux.HandleFunc("DELETE /connections/{id}", b.kill)
	mux.HandleFunc("DELETE /penalties/{address}", b.unban)
	mux.HandleFunc("POST /drain", func(w http.ResponseWriter, r *http.Request) { b.done(w, "drain", b.Drain(r.Context())) })
	mux.HandleFunc("POST /reload", func(w http.ResponseWriter, r *http.Request) { b.done(w, "reload", b.Reload(r.Context())) })
	return mux
}

func (b *Bastion) list(w http.ResponseWriter, r *http.Request) {
	all, err := b.measured(r)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	answer(w, all)
}

func (b *Bastion) show(w http.ResponseWriter, r *http.Request) {
	all, err := b.measured(r)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	for _, c := range all {
		if c.ID == r.PathValue("id") {
			answer(w, c)
			return
		}
	}
	fail(w, http.StatusNotFound, fmt.Errorf("no connection %q", r.PathValue("id")))
}

// measured returns the connections with their rates over the time that over= asks for; none, no rates.
func (b *Bastion) measured(r *http.Request) ([]Connection, error) {
	text := r.URL.Query().Get("over")
	if text == "" {
		return measure(nil, b.Connections(), 0), nil
	}
	over, err := time.ParseDuration(text)
	if err != nil || over <= 0 || over > maxOver {
		return nil, fmt.Errorf("rates are measured over a time up to %v, not %q", maxOver, text)
	}
	before, began := b.Connections(), b.Now()
	select {
	case <-time.After(over):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	return measure(before, b.Connections(), b.Now().Sub(began)), nil
}

// measure compares two looks at the connections. What wasn't there at the first began at zero.
func measure(before, now []server.Info, between time.Duration) []Connection {
	then := make(map[string]server.Info, len(before))
	for _, c := range before {
		then[c.ID] = c
	}
	all := make([]Connection, len(now))
	for i, c := range now {
		all[i] = Connection{Info: c, Rates: map[string]Rate{}}
		if between <= 0 {
			continue
		}
		was := then[c.ID]
		all[i].UpRate, all[i].DownRate = per(c.Up-was.Up, between), per(c.Down-was.Down, between)
		channels := make(map[string]Rate, len(was.Channels))
		for _, channel := range was.Channels {
			channels[channel.Request] = Rate{float64(channel.Up), float64(channel.Down)}
		}
		for _, channel := range c.Channels {
			first := channels[channel.Request]
			all[i].Rates[channel.Request] = Rate{
				per(channel.Up-int64(first.Up), between), per(channel.Down-int64(first.Down), between),
			}
		}
	}
	return all
}

func per(bytes int64, between time.Duration) float64 { return float64(bytes) / between.Seconds() }

func (b *Bastion) kill(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if !b.Kill(id) {
		fail(w, http.StatusNotFound, fmt.Errorf("no connection %q", id))
		return
	}
	b.done(w, "kill "+id, nil)
}

func (b *Bastion) unban(w http.ResponseWriter, r *http.Request) {
	addr, err := netip.ParseAddr(r.PathValue("address"))
	switch {
	case err != nil:
		fail(w, http.StatusBadRequest, fmt.Errorf("%q is not an address", r.PathValue("address")))
	case !b.Unban(addr.Unmap()):
		fail(w, http.StatusNotFound, fmt.Errorf("%s has no penalties", addr))
	default:
		b.done(w, "unban "+addr.String(), nil)
	}
}

// done answers something that was to be done, and logs it.
func (b *Bastion) done(w http.ResponseWriter, what string, err error) {
	if err != nil {
		b.Log.Warn("control socket", "command", what, "err", err)
		fail(w, http.StatusConflict, err)
		return
	}
	b.Log.Info("control socket", "command", what)
	w.WriteHeader(http.StatusNoContent)
}

// failure is the body of an answer that isn't one.
type failure struct {
	Error string `json:"error"`
}

func fail(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(failure{err.Error()}) // whoever has asked may have left
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // as above
}

// ErrNotFound is about a connection or penalties that aren't there.
var ErrNotFound = errors.New("not found")
