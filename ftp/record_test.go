package ftp

import (
	"bytes"
	"strings"
	"testing"
)

// checkRecord holds that every command that went to the server is on record once: answered, or unanswered at the
// end. The only ones that a client didn't send are the probe, the second try of a PASV or EPSV, and those that begin TLS.
func checkRecord(t *testing.T, batches []batch, unanswered []Command) {
	t.Helper()
	sent, ours, answered := 0, 0, len(unanswered)
	begun, ended := 0, 0
	var before Effect
	for _, c := range unanswered {
		if c.Direction() != "" {
			ended++
		}
	}
	for _, e := range effectsOf(batches) {
		m, measured := before.(Measured)
		if _, begins := e.(Beginning); begins && (!measured || m.Size < 0 || m.Offset < 0 || m.Coded && m.Size > 0) {
			t.Fatalf("a transfer begins after %#v, want its measures", before)
		}
		before = e
		switch e := e.(type) {
		case ToServer:
			for line := range bytes.SplitAfterSeq(e.Data, []byte("\r\n")) {
				if len(line) > 0 {
					sent++
				}
				switch string(line) {
				case "NOOP\r\n", "PASV\r\n", "EPSV\r\n", "AUTH TLS\r\n", "PBSZ 0\r\n", "PROT P\r\n":
					ours++
				}
			}
		case Transferring:
			begun++
		case Answered:
			if _, known := verbs[e.Command.Verb]; !known && e.Command.Verb != "?" {
				t.Fatalf("the verb %q is on record", e.Command.Verb)
			}
			if e.Here {
				continue
			}
			answered++
			if e.Command.Direction() != "" {
				ended++
			}
		}
	}
	if answered > sent || answered < sent-ours {
		t.Fatalf("%d commands went to the server, %d of them perhaps ours; %d are on record", sent, ours, answered)
	}
	if begun != ended {
		t.Fatalf("%d transfers began, %d are on record as ended", begun, ended)
	}
}

// TestEveryVerbThatMeansSomethingHasAClass holds that the tables of package ftp agree.
func TestEveryVerbThatMeansSomethingHasAClass(t *testing.T) {
	for verb := range readsNames {
		if c := verbs[verb].class; c != ClassSession && c != ClassTransfer && c != ClassList {
			t.Errorf("%s, which only reads names, has the class %q", verb, c)
		}
	}
	for verb := range readsFiles {
		if c := verbs[verb].class; c != ClassRead && verb != "RANG" {
			t.Errorf("%s, which reads files, has the class %q", verb, c)
		}
	}
	for verb, k := range kinds {
		if _, known := verbs[verb]; !known {
			t.Errorf("%s has no class", verb)
		}
		if (Command{Verb: verb}).Direction() == "" == (k == transfer) {
			t.Errorf("%s: the direction is %q", verb, Command{Verb: verb}.Direction())
		}
	}
	for verb := range notOffered {
		if _, known := verbs[verb]; !known {
			t.Errorf("%s has no class", verb)
		}
	}
	for verb, v := range verbs {
		writes := v.class == ClassWrite
		if c := parseCommand([]byte(verb + " x")); writes == ReadOnly.allows(c) && !strings.Contains("SMNT ALLO PRET", verb) && notOffered[verb] == "" {
			t.Errorf("%s has the class %q, and read-only allows it: %t", verb, v.class, !writes)
		}
	}
}
