package transcript

import (
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	all, err := Parse("dir/some.txtar", "What it is about.\n\n-- one --\n# a remark\noption peer ::1\nC> a\\*3{\\x01b}\n    server: A\nS]  x \n-- two --\nS.\n")
	if err != nil || len(all) != 2 || all[0].Name != "some/one" || all[1].Name != "some/two" {
		t.Fatalf("got %+v, %v; want two transcripts", all, err)
	}
	one := all[0]
	if got := one.Option("peer"); got != "::1" {
		t.Errorf("option peer: got %q", got)
	}
	if got, want := string(one.Steps[0].Data), "a\x01b\x01b\x01b\r\n"; got != want {
		t.Errorf("what the client says: got %q, want %q", got, want)
	}
	if got, want := string(one.Steps[1].Data), " x "; got != want {
		t.Errorf("what the server says: got %q, want %q", got, want)
	}
	if got := one.Steps[0].Want; !slices.Equal(got, []string{"server: A"}) || one.Steps[0].Where != "dir/some.txtar:6" {
		t.Errorf("effects at %s: got %q", one.Steps[0].Where, got)
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"-- a --\n    client: x\n":   "f:2: an effect of nothing",
		"-- a --\nS.\n-- a --\nS.\n": `f:3: there are two sections "a"`,
		"-- a --\nC> \\y\n":          "f:2: invalid syntax",
		"-- a --\nC> \\*x{y}\n":      "f:2: strconv.Atoi",
	} {
		if _, err := Parse("f", text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func TestLinesAreFoldedAndUnfolded(t *testing.T) {
	said := strings.Repeat("200 ok\r\n", many) + "201 \"\xff\"\r\n" + strings.Repeat("x", 301) + "\r\nhalf"
	got := Lines("client", []byte(said))
	want := []string{"client: 200 ok (8 times)", `client: 201 "\xff"`, "client: " + strings.Repeat("x", 60) + "… (301)", "client: half (no CRLF)"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if all := Unfold(got[0]); len(all) != many || all[0] != "client: 200 ok" {
		t.Errorf("unfolded: %q", all)
	}
}
