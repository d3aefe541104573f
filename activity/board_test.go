package activity_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/culvert-ssh/culvert/activity"
	"github.com/culvert-ssh/culvert/relay"
)

// run runs the board, and returns what ends that.
func run(b *activity.Board) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { b.Run(ctx) })
	return func() {
		cancel()
		wg.Wait()
	}
}

// ftpTunnel is what an FTP forward is counted by.
var ftpTunnel = activity.Tunnel{Kind: activity.Local, FTP: true, Listen: "127.0.0.1:2121", Target: "ftp.corp:21"}

func TestTransferIsShownWithItsRateAndItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b activity.Board
		defer run(&b)()
		time.Sleep(100 * time.Millisecond) // what follows happens between two looks
		tunnel := b.Tunnel(ftpTunnel)
		defer tunnel.Close()
		c := tunnel.Connection(activity.Connection{From: "127.0.0.1:40000", FTP: true})
		c.LoggedIn("alice")
		m := c.Transfer(activity.Transfer{File: "pub/big.iso", Direction: activity.Download})
		var count relay.Counters
		m.Count(&count)
		m.Begun(activity.Transfer{Size: 10_000, Offset: 1000})
		begin := time.Now()
		for range 5 {
			count.BToA.Add(1000)
			count.AToB.Add(7) // what a server is sent on a download is none of it
			time.Sleep(time.Second)
		}
		s := b.Snapshot()
		want := activity.Snapshot{At: begin.Add(5 * time.Second), Tunnels: []activity.Tunnel{{
			Kind: activity.Local, FTP: true, Listen: "127.0.0.1:2121", Target: "ftp.corp:21", Served: 1, Up: 35, Down: 5000,
			Connections: []activity.Connection{{
				ID: 1, From: "127.0.0.1:40000", FTP: true, User: "alice", Since: begin, Up: 35, Down: 5000,
				Transfers: []activity.Transfer{{
					ID: 2, File: "pub/big.iso", Direction: activity.Download, Since: begin, Begun: true, Offset: 1000, Size: 10_000,
					Bytes: 5000, Rate: 1007, Rates: []int64{1118, 1007, 1007, 1007, 1007},
				}},
			}},
		}}}
		if diff := cmp.Diff(want, s); diff != "" {
			t.Fatalf("snapshot (-want +got):\n%s", diff)
		}
		transfer := s.Tunnels[0].Connections[0].Transfers[0]
		if share, known := transfer.Share(); share != 0.6 || !known {
			t.Errorf("share %v, known %v; want 0.6, true", share, known)
		}
		if left, known := transfer.Left(); left.Round(time.Second) != 4*time.Second || !known {
			t.Errorf("left %v, known %v; want 4s, true", left, known)
		}
	})
}

func TestWhatHasEndedStaysInTheSums(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []activity.Ended
		b := activity.Board{OnEnd: func(e activity.Ended) { told = append(told, e) }}
		tunnel := b.Tunnel(ftpTunnel)
		c := tunnel.Connection(activity.Connection{From: "127.0.0.1:40000", FTP: true})
		var count relay.Counters
		for i, how := range []activity.Outcome{activity.Done, activity.Aborted} {
			m := c.Transfer(activity.Transfer{File: "f", Direction: activity.Upload})
			m.Count(&count)
			count.AToB.Add(100 * int64(i+1))
			time.Sleep(2 * time.Second)
			m.End(how, "")
			m.End(activity.Failed, "twice")
		}
		left := c.Transfer(activity.Transfer{File: "g", Direction: activity.Upload})
		c.Close()
		left.End(activity.Done, "")
		c.Close()
		late := c.Transfer(activity.Transfer{File: "h", Direction: activity.Upload})
		late.Count(&count)
		late.End(activity.Done, "")

		s := b.Snapshot()
		if got := s.Tunnels[0]; got.Up != 300 || got.Served != 1 || len(got.Connections) != 0 {
			t.Errorf("tunnel is %+v, want 300 bytes up, one connection served, none left", got)
		}
		var got []string
		for _, e := range told {
			got = append(got, string(e.Outcome)+" "+e.File+" "+e.Target)
			if e.File == "f" && e.Rate != e.Bytes/2 {
				t.Errorf("%s of %d bytes in 2 s had the rate %d", e.File, e.Bytes, e.Rate)
			}
		}
		want := []string{"done f ftp.corp:21", "aborted f ftp.corp:21", "failed g ftp.corp:21"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("told of (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(told, s.Ended); diff != "" {
			t.Errorf("the snapshot has others than were told (-told +snapshot):\n%s", diff)
		}
		tunnel.Close()
		if s := b.Snapshot(); len(s.Tunnels) != 0 {
			t.Errorf("there is %+v after the end of the tunnel", s.Tunnels)
		}
	})
}

// A board with nothing to count must not wake a laptop up every second, and must be there at once when there is something.
func TestIdleBoardSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b activity.Board
		defer run(&b)()
		time.Sleep(time.Hour)
		tunnel := b.Tunnel(activity.Tunnel{Kind: activity.Local})
		for range 2 {
			c := tunnel.Connection(activity.Connection{})
			var count relay.Counters
			c.Count(&count)
			count.AToB.Add(500)
			count.BToA.Add(500)
			time.Sleep(1100 * time.Millisecond)
			if got := b.Snapshot().Tunnels[0].Connections[0]; got.Rate < 900 || got.Rate > 1000 || got.Up != 500 || got.Down != 500 {
				t.Errorf("a second later the connection is %+v, want 500 bytes each way and their rate", got)
			}
			c.Close()
			time.Sleep(time.Hour)
		}
		tunnel.Close()
	})
}

func TestNilBoardCountsNothing(t *testing.T) {
	var b *activity.Board
	tunnel := b.Tunnel(ftpTunnel)
	c := tunnel.Connection(activity.Connection{})
	c.LoggedIn("alice")
	c.Count(new(relay.Counters))
	m := c.Transfer(activity.Transfer{})
	m.Count(new(relay.Counters))
	m.Begun(activity.Transfer{})
	m.End(activity.Done, "")
	c.Close()
	tunnel.Close()
	if s := b.Snapshot(); len(s.Tunnels) != 0 {
		t.Errorf("snapshot %+v, want none", s)
	}
}

func TestSnapshotIsBounded(t *testing.T) {
	var b activity.Board
	c := b.Tunnel(ftpTunnel).Connection(activity.Connection{})
	for range 100 {
		c.Transfer(activity.Transfer{File: "f"}).End(activity.Done, "")
	}
	if got := len(b.Snapshot().Ended); got != 20 {
		t.Errorf("%d transfers that have ended are kept, want 20", got)
	}
}

// What is written by one program and read by another is the same, and what isn't known isn't in it.
func TestSnapshotIsJSON(t *testing.T) {
	at := time.Date(2026, 11, 26, 5, 0, 0, 0, time.UTC)
	s := activity.Snapshot{
		At:    at,
		Links: []activity.Link{{Name: "nightly", Bastion: "alice@bastion", State: activity.Broken, Since: at, Cause: "no route", Retry: at.Add(time.Second)}},
		Tunnels: []activity.Tunnel{{Link: "nightly", Kind: activity.Local, FTP: true, Listen: "127.0.0.1:2121", Target: "ftp.corp:21", Served: 1, Up: 1, Down: 2, Connections: []activity.Connection{{
			ID: 1, From: "127.0.0.1:40000", FTP: true, Since: at, Up: 1, Down: 2,
			Transfers: []activity.Transfer{{ID: 2, File: `a\nb`, Direction: activity.Download, Since: at, Bytes: 2}},
		}}}},
	}
	got, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"at":"2026-11-26T05:00:00Z",` +
		`"links":[{"name":"nightly","bastion":"alice@bastion","state":"broken","since":"2026-11-26T05:00:00Z","cause":"no route","retry":"2026-11-26T05:00:01Z"}],` +
		`"tunnels":[{"link":"nightly","kind":"local","ftp":true,"listen":"127.0.0.1:2121","target":"ftp.corp:21","served":1,"up":1,"down":2,` +
		`"connections":[{"id":1,"from":"127.0.0.1:40000","ftp":true,"since":"2026-11-26T05:00:00Z","up":1,"down":2,"rate":0,` +
		`"transfers":[{"id":2,"file":"a\\nb","direction":"download","since":"2026-11-26T05:00:00Z","begun":false,"bytes":2,"rate":0}]}]}]}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var back activity.Snapshot
	if err := json.Unmarshal(got, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, back); diff != "" {
		t.Errorf("read back (-written +read):\n%s", diff)
	}
}
