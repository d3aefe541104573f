package audit_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/culvert-ssh/culvert/audit"
)

// sample returns the lines of a log of n events after audit.opened, each with its end.
func sample(t testing.TB, n int) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit")
	l := opened(t, path)
	for i := range n {
		write(t, l, audit.FTPLogin{Login: fmt.Sprintf("user %d", i)})
	}
	return strings.SplitAfter(strings.TrimSuffix(read(t, path), "\n"), "\n")
}

func verifyText(t testing.TB, text string) audit.Report {
	t.Helper()
	v := audit.NewVerifier()
	if err := v.File("log", strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	return v.Report()
}

func TestVerifierNamesWhatWasDone(t *testing.T) {
	lines := sample(t, 9)
	lines[9] += "\n"
	join := func(parts ...[]string) string { return strings.Join(slices.Concat(parts...), "") }
	changed := func(i int, old, now string) string {
		l := slices.Clone(lines)
		l[i] = strings.Replace(l[i], old, now, 1)
		return join(l)
	}
	for _, tt := range []struct {
		name, text string
		want       []string // at: text
	}{
		{"nothing", join(lines), nil},
		{"a line removed", join(lines[:3], lines[4:]), []string{"log:4: missing before it: 1 line, as number 5 follows 3"}},
		{"lines removed", join(lines[:3], lines[6:]), []string{"log:4: missing before it: 3 lines, as number 7 follows 3"}},
		{"the beginning removed", join(lines[2:]), []string{"log:1: the beginning of the file is missing"}},
		{"a field changed", changed(4, "user 3", "user 7"), []string{"log:5: it was changed"}},
		{"a line made no JSON", changed(4, `"user 3"`, `"user 3`), []string{"log:5: it is no line of this log, or it was changed"}},
		{"a hash changed", changed(4, `"prev":"`, `"prev":"0`), []string{"log:5: it is no line of this log, or it was changed"}},
		{"a line repeated", join(lines[:4], lines[3:]), []string{"log:5: it was inserted or moved here: number 4 follows 4"}},
		{"a foreign line inserted", join(lines[:4], []string{"{}\n"}, lines[4:]), []string{"log:5: it is no line of this log"}},
		{"lines exchanged", join(lines[:3], lines[4:5], lines[3:4], lines[5:]), []string{
			"log:4: missing before it: 1 line", "log:5: it was inserted or moved here: number 4 follows 5", "log:6: missing before it: 1 line",
		}},
		{"torn at the end", strings.TrimSuffix(join(lines), "}\n"), []string{"log:10: it is torn"}},
		{"a line end lost", strings.TrimSuffix(join(lines), "\n"), []string{"log:10: it is torn"}},
		{"a chain in a chain", join(lines, lines), []string{"log:11: it was inserted or moved here: number 1 follows 10"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := verifyText(t, tt.text).Problems
			if len(got) != len(tt.want) {
				t.Fatalf("got %v, want %v", got, tt.want)
			}
			for i, p := range got {
				if s := p.At + ": " + p.Text; !strings.HasPrefix(s, tt.want[i]) {
					t.Errorf("got %q, want %q", s, tt.want[i])
				}
			}
		})
	}
}

func TestNotedHeadFindsATailThatWasCut(t *testing.T) {
	lines := sample(t, 4)
	whole := strings.Join(lines, "") + "\n"
	head := verifyText(t, whole).Head
	for _, tt := range []struct {
		text, head, want string
	}{
		{whole, head, "log:5"},
		{strings.Join(lines[:4], ""), head, ""},
		{whole, verifyText(t, lines[0]+lines[1]).Head, "log:2"},
	} {
		v := audit.NewVerifier()
		v.Noted(tt.head)
		if err := v.File("log", strings.NewReader(tt.text)); err != nil {
			t.Fatal(err)
		}
		if got := v.Report().NotedAt; got != tt.want {
			t.Errorf("got the noted head at %q, want %q", got, tt.want)
		}
	}
}

func TestFilesOfTwoChainsAreNotOne(t *testing.T) {
	v := audit.NewVerifier()
	for _, name := range []string{"a", "b"} {
		if err := v.File(name, strings.NewReader(strings.Join(sample(t, 2), "")+"\n")); err != nil {
			t.Fatal(err)
		}
	}
	if p := v.Report().Problems; len(p) != 1 || p[0].At != "b:1" || !strings.Contains(p[0].Text, "a chain begins anew") {
		t.Errorf("got %v", p)
	}
}

// TestAnyChangedByteIsFound goes through a written log and changes each byte but those of the last line.
func TestAnyChangedByteIsFound(t *testing.T) {
	lines := sample(t, 3)
	text := []byte(strings.Join(lines, "") + "\n")
	r := rand.New(rand.NewPCG(1, 2))
	for i := range len(text) - len(lines[3]) - 1 {
		was := text[i]
		for text[i] == was {
			text[i] = byte(r.IntN(256))
		}
		if verifyText(t, string(text)).Problems == nil {
			t.Errorf("byte %d: %q was made %q in\n%s", i, was, text[i], text)
		}
		text[i] = was
	}
}

// FuzzVerify feeds anything to whatever reads a log, and to a written log puts something in its middle.
func FuzzVerify(f *testing.F) {
	lines := sample(f, 3)
	whole := strings.Join(lines, "") + "\n"
	f.Add([]byte(whole), 10, []byte("x"))
	f.Add([]byte(lines[1]+`{"event":"audit.torn","bytes":1,"sha256":"","seq":3,"prev":"`), 0, []byte("\n"))
	f.Add([]byte(`{"event":"ftp.transfer","conn":"1","bytes":-1}`), 0, []byte{})
	f.Fuzz(func(t *testing.T, data []byte, at int, put []byte) {
		verifyText(t, string(data))
		var b bytes.Buffer
		if _, err := (audit.Filter{Conn: "1", Denied: true}).Select(&b, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
		show := audit.Show{W: &b, Conn: "1"}
		if _, err := show.File(bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
		if i := strings.IndexFunc(b.String(), func(r rune) bool { return r < ' ' && r != '\n' || r >= 0x7f && r <= 0x9f }); i >= 0 && show.Found() > 0 {
			t.Errorf("control character at %d of %q", i, b.String())
		}

		if at < 0 || at+len(put) >= len(whole)-len(lines[3]) || len(put) == 0 || bytes.Equal([]byte(whole[at:at+len(put)]), put) {
			return
		}
		changed := whole[:at] + string(put) + whole[at+len(put):]
		if verifyText(t, changed).Problems == nil {
			t.Errorf("%q at %d isn't found", put, at)
		}
	})
}

// FuzzWrittenLogIsIntact has peers say anything, and the log begun anew in between.
func FuzzWrittenLogIsIntact(f *testing.F) {
	f.Add("alice", "RETR", []byte{0, 1, 2})
	f.Add(`x","seq":1,"prev":"`+strings.Repeat("0", 64)+`"}`, "\n{}\n", []byte{1, 0, 2, 2, 0})
	f.Add("\xff\u0085\u2028", `\`, []byte{0, 3, 0})
	f.Fuzz(func(t *testing.T, login, reason string, steps []byte) {
		dir := t.TempDir()
		path := filepath.Join(dir, "audit")
		files := []string{path}
		logs := []*audit.Log{opened(t, path), opened(t, path)}
		lines := uint64(0)
		for _, s := range steps[:min(len(steps), 20)] {
			l := logs[s>>7]
			switch s % 4 {
			case 0:
				write(t, l, audit.FTPLogin{Login: login})
			case 1:
				write(t, l, audit.FTPRefused{Reason: reason})
			case 2:
				write(t, l, audit.FTPRefused{Reason: reason}, audit.FTPLogin{Login: login})
				lines++
			case 3:
				if lines == 0 {
					continue // there is no file yet that could be continued
				}
				old := fmt.Sprintf("%s.%d", path, len(files))
				rename(t, path, old)
				files = append(files[:len(files)-1], old, path)
				if err := l.Reopen(); err != nil {
					t.Fatal(err)
				}
				continue
			}
			lines++
		}
		if lines > 0 {
			intact(t, lines+uint64(len(files)), files...)
		}
	})
}

func TestLineWithoutEndTakesNoMemory(t *testing.T) {
	endless := io.LimitReader(zeros{}, 64<<20)
	v := audit.NewVerifier()
	if err := v.File("log", endless); err != nil {
		t.Fatal(err)
	}
	if p := v.Report().Problems; len(p) != 1 || !strings.Contains(p[0].Text, "longer than") {
		t.Errorf("got %v", p)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestReadErrorIsNoProblemOfTheLog(t *testing.T) {
	broken := errors.New("input/output error")
	if err := audit.NewVerifier().File("log", failingReader{broken}); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
}

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }
