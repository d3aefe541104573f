package activity

import (
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// busy is a snapshot with something of everything.
func busy() Snapshot {
	return Snapshot{
		At: noon,
		Links: []Link{
			{Name: "nightly", Bastion: "alice@bastion", State: Connected, Since: noon.Add(-12 * time.Minute), Sides: 8},
			{Name: "lab", Bastion: "lab.example:2222", State: Broken, Since: noon.Add(-4 * time.Second), Cause: "no route to host", Retry: noon.Add(8 * time.Second)},
			{Name: "rest", Bastion: "bob@bastion", State: Idle},
		},
		Tunnels: []Tunnel{
			{Link: "nightly", Kind: Local, FTP: true, Listen: "127.0.0.1:2121", Target: "ftp.corp:21", Served: 7, Up: 12_000, Down: 1_400_000_000, Connections: []Connection{
				{ID: 1, From: "127.0.0.1:40000", FTP: true, User: "alice", Since: noon.Add(-3 * time.Minute), Down: 512_000_000, Transfers: []Transfer{
					{
						ID: 2, File: "pub/big.iso", Direction: Download, Begun: true, Size: 1_400_000_000, Bytes: 512_000_000,
						Rate: 51_200_000, Rates: []int64{10_000_000, 0, 30_000_000, 51_200_000},
					},
				}},
			}},
			{Link: "nightly", Kind: Dynamic, Listen: "127.0.0.1:1080", Served: 1, Connections: []Connection{
				{ID: 3, From: "127.0.0.1:40001", Target: "db.corp:5432", Since: noon.Add(-time.Hour), Up: 999, Down: 1000, Rate: 500, Rates: []int64{500}},
			}},
			{Link: "lab", Kind: Remote, Listen: "localhost:8080", Target: "127.0.0.1:80"},
		},
	}
}

func TestLinesOfASnapshot(t *testing.T) {
	got := busy().Lines(Style{Width: 90, Unicode: true})
	want := []string{
		"nightly  alice@bastion  connected for 12:00, 8 side connections",
		"  FTP to ftp.corp:21 at 127.0.0.1:2121, 1 connection now, 7 so far, ↓ 1.40 GB ↑ 12.0 kB",
		"    alice from 127.0.0.1:40000, 3:00, ↓ 512 MB ↑ 0 B",
		"      ↓  36%       ▂ ▅█ 51.2 MB/s  512 MB of 1.40 GB     0:17 left  pub/big.iso",
		"  SOCKS at 127.0.0.1:1080, 1 connection now, 1 so far",
		"    from 127.0.0.1:40001 to db.corp:5432, 1:00:00, ↓ 1.00 kB ↑ 999 B           █ 500 B/s",
		"lab  lab.example:2222  broken for 0:04, next try in 0:08: no route to host",
		"  127.0.0.1:80 at localhost:8080 of the bastion",
		"rest  bob@bastion  idle",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	got = busy().Progress(Style{Width: 50})
	want = []string{
		"v  36% 51.2 MB/s  512 MB of 1.40 GB  pub/big.iso",
		"x        500 B/s  v 1.00 kB ^ 999 B  db.corp:5432",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("progress, ASCII, 50 cells (-want +got):\n%s", diff)
	}
}

func TestLinesAboutOneTransfer(t *testing.T) {
	x := Transfer{File: "a b\n.iso", Direction: Upload, Since: noon, Size: 4000, Bytes: 1000, Rate: 500}
	if got, want := x.Line(Style{}), `a b\n.iso: upload, 25% of 4.00 kB, 500 B/s, 0:06 left`; got != want {
		t.Errorf("on its way: %s\nwant %s", got, want)
	}
	for _, tt := range []struct {
		ended Ended
		want  string
	}{
		{Ended{Transfer: x, At: noon.Add(2 * time.Second), Outcome: Done}, `a b\n.iso: upload done, 1.00 kB in 0:02, 500 B/s`},
		{Ended{Transfer: x, At: noon, Outcome: Done}, `a b\n.iso: upload done, 1.00 kB`},
		{Ended{Transfer: x, At: noon, Outcome: Failed, Cause: "the server says 426"}, `a b\n.iso: upload failed, 1.00 kB, 25% of 4.00 kB: the server says 426`},
		{Ended{Transfer: Transfer{Direction: Listing}, At: noon, Outcome: Aborted}, `(the directory): listing aborted, 0 B`},
	} {
		if got := tt.ended.Line(Style{}); got != tt.want {
			t.Errorf("ended: %s\nwant %s", got, tt.want)
		}
	}
}

// Sizes that servers were wrong about, and those of what is compressed, tell no share.
func TestShareIsToldOnlyWhereItIsKnown(t *testing.T) {
	for _, tt := range []struct {
		transfer Transfer
		share    float64
		known    bool
	}{
		{Transfer{Size: 100, Bytes: 25}, 0.25, true},
		{Transfer{Size: 100, Offset: 50, Bytes: 25}, 0.75, true},
		{Transfer{Size: 100, Bytes: 100}, 1, true},
		{Transfer{Size: 100, Bytes: 101}, 0, false},
		{Transfer{Bytes: 101}, 0, false},
		{Transfer{Size: 100, Bytes: 25, Compressed: true}, 0, false},
	} {
		if share, known := tt.transfer.Share(); share != tt.share || known != tt.known {
			t.Errorf("%+v: share %v, known %v; want %v, %v", tt.transfer, share, known, tt.share, tt.known)
		}
	}
}

func TestSideConnectionsAreCounted(t *testing.T) {
	for n, want := range map[int]string{0: "", 1: ", 1 side connection", 8: ", 8 side connections"} {
		if got := (Snapshot{}).link(Link{Name: "a", State: Connected, Sides: n}, Style{}); got != "a    connected"+want {
			t.Errorf("%d: got %q, want %q at the end", n, got, want)
		}
	}
}

func TestNumbersAreShort(t *testing.T) {
	for bytes, want := range map[int64]string{
		0: "0 B", -1: "0 B", 999: "999 B", 1000: "1.00 kB", 9994: "9.99 kB", 9996: "10.0 kB", 99_949: "99.9 kB", 99_960: "100 kB",
		999_499: "999 kB", 999_600: "1.00 MB", 1_400_000_000: "1.40 GB", 1<<63 - 1: "9.22 EB",
	} {
		if got := amount(bytes); got != want {
			t.Errorf("%d bytes are %q, want %q", bytes, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0:00", 27 * time.Second: "0:27", 59*time.Minute + 59*time.Second: "59:59", time.Hour: "1:00:00", 51 * time.Hour: "2d 3h",
	} {
		if got := clock(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

func TestNamesAreCutWhereTheyAreLeastMissed(t *testing.T) {
	unicode := Style{Unicode: true}
	for _, tt := range []struct {
		style Style
		name  string
		room  int
		want  string
	}{
		{unicode, "pub/big.iso", 11, "pub/big.iso"},
		{unicode, "pub/big.iso", 8, "…big.iso"},
		{Style{}, "pub/big.iso", 8, "...g.iso"},
		{Style{}, "pub/big.iso", 2, ".."},
		{unicode, "文書/報告.txt", 11, "…/報告.txt"},
		{unicode, "文書/報告.txt", 9, "…報告.txt"},
		{unicode, "文書/報告.txt", 8, "…告.txt"},
		{unicode, "ae\u0301xyz", 4, "…xyz"},
		{unicode, "x\u202egpj.exe", 20, "x?gpj.exe"},
		{unicode, "a\x1b[2Jb\r\nc\xff", 20, "a?[2Jb??c?"},
		{unicode, "z\u0300\u0301\u0302\u0303\u0304", 20, "z\u0300\u0301"},
		{Style{}, "Übung\x07", 20, `\u00dcbung\a`},
	} {
		if got := tt.style.fit(tt.style.clean(tt.name), tt.room); got != tt.want {
			t.Errorf("%q in %d cells is %q, want %q", tt.name, tt.room, got, tt.want)
		}
	}
}

func TestSparkLine(t *testing.T) {
	st := Style{Unicode: true}
	for _, tt := range []struct {
		style Style
		rates []int64
		want  string
	}{
		{st, nil, "      "},
		{st, []int64{0, 1, 100}, "    ▁█"},
		{st, []int64{1, 2, 3, 4, 5, 6, 7, 8}, "▃▄▅▆▇█"},
		{Style{}, []int64{0, 1, 100}, "    .@"},
		{st, []int64{1<<63 - 1, 1<<63 - 1}, "    ██"},
	} {
		if got := tt.style.spark(tt.rates, 6); got != tt.want {
			t.Errorf("the spark line of %v is %q, want %q", tt.rates, got, tt.want)
		}
	}
}

func TestColoursTakeNoRoom(t *testing.T) {
	plain, colored := Style{Width: 60, Unicode: true}, Style{Width: 60, Unicode: true, Color: true}
	for i, line := range busy().Lines(colored) {
		for _, c := range []string{colorDown, colorUp, colorWrong, colorFaint, colorEnd} {
			line = strings.ReplaceAll(line, c, "")
		}
		if want := busy().Lines(plain)[i]; strings.TrimRight(line, " ") != want {
			t.Errorf("without its colours: %q\nwant %q", line, want)
		}
	}
}

// FuzzLines holds that no name makes a line longer than it may be, or does anything to a terminal.
func FuzzLines(f *testing.F) {
	f.Add("pub/文書\x1b[31m", int64(1000), int64(300), 40, true)
	f.Add("", int64(-1), int64(1<<62), 3, false)
	f.Fuzz(func(t *testing.T, name string, size, bytes int64, width int, utf8 bool) {
		st := Style{Width: 1 + width&0xff, Unicode: utf8}
		x := Transfer{File: name, Size: size, Bytes: bytes, Rate: bytes, Rates: []int64{size, bytes}, Direction: Direction(name)}
		s := Snapshot{At: noon, Links: []Link{{Name: name, Bastion: name, State: State(name), Cause: name}}, Tunnels: []Tunnel{{
			Link: name, Kind: Kind(name), Listen: name, Target: name, Up: bytes, Served: 1, Connections: []Connection{
				{From: name, Target: name, User: name, Up: bytes, Rate: bytes, Transfers: []Transfer{x}},
			},
		}}}
		lines := append(s.Lines(st), s.Progress(st)...)
		for _, line := range append(lines, x.Line(st), Ended{Transfer: x, Cause: name}.Line(st)) {
			if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) || !utf8 && r > unicode.MaxASCII }) {
				t.Errorf("%q would be obeyed by a terminal", line)
			}
		}
		for _, line := range lines {
			if n := cellsOf(line); n > st.Width {
				t.Errorf("%q has %d cells, more than %d", line, n, st.Width)
			}
		}
	})
}

func TestMoreLinesThanThereIsRoomForAreCounted(t *testing.T) {
	lines := []string{"a", "b", "c", "d"}
	for most, want := range map[int][]string{0: {}, 1: {"and 4 more"}, 3: {"a", "b", "and 2 more"}, 4: lines, 9: lines} {
		if diff := cmp.Diff(want, Style{}.Clip(lines, most)); diff != "" {
			t.Errorf("in %d lines (-want +got):\n%s", most, diff)
		}
	}
}
