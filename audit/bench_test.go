package audit_test

import (
	"io"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/audit"
)

// BenchmarkWrite measures what an event costs: the encoding alone, with the chain and the write to a file, and where two
// processes take turns, so that each reads the other's last line.
func BenchmarkWrite(b *testing.B) {
	e := audit.FTPTransfer{
		Conn:    audit.Conn{ID: "1", Client: netip.MustParseAddrPort("203.0.113.7:52311"), User: "alice"},
		Control: "1-1", Request: "1-2", Command: "RETR", Direction: "download", Path: "/pub/reports/2026/november.csv",
		Bytes: 123456, Seconds: 0.123456, Result: "complete", Code: 226,
	}
	asked := audit.ChannelAsked{Conn: e.Conn, Request: "1-2", Type: "direct-tcpip", Target: "ftp.example.com:21"}
	b.Run("encode a channel's", func(b *testing.B) {
		b.ReportAllocs()
		for log := audit.New(io.Discard, time.Now); b.Loop(); {
			write(b, log, asked)
		}
	})
	run := func(b *testing.B, logs ...*audit.Log) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			write(b, logs[i%len(logs)], e)
		}
	}
	b.Run("encode", func(b *testing.B) { run(b, audit.New(io.Discard, time.Now)) })
	b.Run("file", func(b *testing.B) { run(b, opened(b, filepath.Join(b.TempDir(), "audit"))) })
	b.Run("turns", func(b *testing.B) {
		path := filepath.Join(b.TempDir(), "audit")
		run(b, opened(b, path), opened(b, path))
	})
}
