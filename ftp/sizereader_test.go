package ftp

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sizesRead are the sizes that the data of a command tells, fed in pieces.
func sizesRead(command, data string, piece int) map[string]int64 {
	sizes := make(map[string]int64)
	r := NewSizeReader(parseCommand([]byte(command)).recorded(), func(path string, size int64) { sizes[path] = size })
	inPieces(piece)([]byte(data), func(p []byte) []Effect { r.Feed(p); return nil })
	return sizes
}

func TestListingsTellSizes(t *testing.T) {
	for _, tt := range []struct{ command, line, want string }{
		{"LIST", "-rw-r--r--    1 0        0            1234 Nov 26 05:00 big file.iso", "big file.iso 1234"}, // vsftpd
		{"LIST", "-rw-r--r--   1 ftp      ftp          1234 Nov  6  2025 a", "a 1234"},                        // proftpd
		{"LIST", "-rw-r--r--   1 ftp          1234 Nov 26 05:00 a", "a 1234"},                                 // no group
		{"LIST", "-rw-r--r--   1 domain users staff 1234 Nov 26 05:00 a", "a 1234"},
		{"LIST", "-rw-r--r-- 1 ftp ftp 1234 2026-11-26 05:00  a", " a 1234"},
		{"LIST", "-rw-r--r-- 1 ftp ftp 1234 Nov 26 05:00 Nov 27 06:00", "Nov 27 06:00 1234"},
		{"LIST", "-rw-r--r-- 1 ftp ftp 1234 Nov 26 05:00 a\x1b[2J\xff", `a\x1b[2J\xff 1234`},
		{"LIST", "drwxr-xr-x 2 ftp ftp 4096 Nov 26 05:00 pub", ""},
		{"LIST", "lrwxrwxrwx 1 ftp ftp 7 Nov 26 05:00 a -> b", ""},
		{"LIST", "total 12", ""},
		{"LIST", "-rw-r--r-- 1 ftp ftp many Nov 26 05:00 a", ""},
		{"LIST", "11-26-26  05:00AM                 1234 big file.iso", "big file.iso 1234"}, // IIS
		{"LIST", "11-26-2026  05:00PM       1234 a", "a 1234"},
		{"LIST", "11-26-26  05:00AM       <DIR>          pub", ""},
		{"LIST -la", "-rw-r--r-- 1 ftp ftp 1234 Nov 26 05:00 a", "a 1234"},
		{"LIST -l -a pub", "-rw-r--r-- 1 ftp ftp 1234 Nov 26 05:00 a", "pub/a 1234"},
		{"LIST my files/", "-rw-r--r-- 1 ftp ftp 1234 Nov 26 05:00 a", "my files/a 1234"},
		{"LIST */*.iso", "-rw-r--r-- 1 ftp ftp 1234 Nov 26 05:00 pub/a.iso", "pub/a.iso 1234"},
		{"LIST a", "-rw-r--r-- 1 ftp ftp 1234 Nov 26 05:00 a", "a 1234"},
		{"MLSD", "type=file;size=1234;modify=20261126050000; big file.iso", "big file.iso 1234"},
		{"MLSD /", "Size=1234;Type=File; a", "/a 1234"},
		{"MLSD pub", "type=dir;size=4096; d", ""},
		{"MLSD", "type=file;size=-1; a", ""},
		{"MLSD", "type=file;size=99999999999999999999; a", ""},
		{"MLSD", "-rw-r--r-- 1 ftp ftp 1234 Nov 26 05:00 a", ""},
		{"LIST", "type=file;size=1234; a", ""},
		{"NLST", "-rw-r--r-- 1 ftp ftp 1234 Nov 26 05:00 a", ""},
	} {
		for _, piece := range []int{1, 3, 1000} {
			var got string
			for path, size := range sizesRead(tt.command, "nothing\r\n"+tt.line+"\r\nnothing\r\n", piece) {
				got += fmt.Sprintf("%s %d", path, size)
			}
			if got != tt.want {
				t.Errorf("%s: %q in pieces of %d tells %q, want %q", tt.command, tt.line, piece, got, tt.want)
			}
		}
	}
}

func TestListingWithoutEndIsBounded(t *testing.T) {
	const file = "-rw-r--r-- 1 ftp ftp 1234 Nov 26 05:00 "
	long := strings.Repeat("x", maxListingLine)
	got := sizesRead("LIST", file+"a\n"+file+long+"\n"+file+"b\n", 100)
	if diff := cmp.Diff(map[string]int64{"a": 1234, "b": 1234}, got); diff != "" {
		t.Errorf("around a line that is too long (-want +got):\n%s", diff)
	}
	var data strings.Builder
	for i := range 2 * maxListing / len(file) {
		fmt.Fprintf(&data, "%s%d\n", file, i)
	}
	if got := len(sizesRead("LIST", data.String(), 4096)); got > maxListing/len(file) {
		t.Errorf("%d sizes are read of a listing of %d bytes", got, data.Len())
	}
}

func TestSizesAreBounded(t *testing.T) {
	var z Sizes
	name := func(i int) string { return fmt.Sprintf("%0100d", i) }
	const many = 10_000
	for i := range many {
		z.Add(name(i), int64(i+1))
		z.Add(name(i), int64(i+2))
	}
	z.Add(strings.Repeat("x", maxSizeNames), 1)
	z.Add("none", 0)
	if z.bytes > maxSizeNames || len(z.of) != len(z.order) || len(z.of) != maxSizeNames/(perSize+100) {
		t.Errorf("%d names are remembered, in the order of %d, of %d bytes", len(z.of), len(z.order), z.bytes)
	}
	if first, last := z.Of(name(0)), z.Of(name(many-1)); first != 0 || last != many+1 {
		t.Errorf("the first has the size %d, the last %d; want 0 (forgotten) and %d", first, last, many+1)
	}
	if z.Clear(); z.Of(name(many-1)) != 0 {
		t.Error("a size is known after Clear")
	}
}

// FuzzSizeReader holds that what is read doesn't depend on the cuts, is bounded, and moves no cursor.
func FuzzSizeReader(f *testing.F) {
	for _, line := range []string{"-rw-r--r-- 1 ftp ftp 1234 Nov 26 05:00 a b\r\n", "11-26-26  05:00AM  1234 a\r\n", "type=file;size=12; a\n"} {
		f.Add("-la pub", []byte("total 1\r\n"+line+line))
	}
	f.Fuzz(func(t *testing.T, arg string, data []byte) {
		for _, verb := range []string{"LIST ", "MLSD "} {
			want := sizesRead(verb+arg, string(data), len(data)+1)
			for _, piece := range []int{1, 3} {
				if got := sizesRead(verb+arg, string(data), piece); !maps.Equal(got, want) {
					t.Fatalf("in pieces of %d: %v, whole: %v", piece, got, want)
				}
			}
			for path, size := range want {
				if size <= 0 || size > 1<<62 || path == "" || strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\u202e' }) {
					t.Fatalf("%q has the size %d", path, size)
				}
			}
		}
	})
}
