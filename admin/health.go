package admin

import (
	"io"
	"net"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Health serves /metrics, /healthz and /readyz. Whoever reaches it may read it: it names no user and no destination.
type Health struct{ *endpoint }

// ServeHealth answers on l, which it closes in the end. The caller must call Close.
func ServeHealth(l net.Listener, b Bastion, m *Metrics) (*Health, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry(&b), promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "alive") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if b.Ready() {
			say(w, http.StatusOK, "ready")
			return
		}
		say(w, http.StatusServiceUnavailable, "not ready: no new connections are accepted")
	})
	return &Health{serve(l, mux, b.Log)}, nil
}

// maxScrapes bounds how many ask for metrics at once, as each answer looks at every connection.
const maxScrapes = 4

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") // whoever has asked may have left
}

// Close ends the answers and waits for them.
func (h *Health) Close() error { return h.close() }
