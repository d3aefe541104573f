package audit

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

// What events encode themselves is what package json makes of them, whatever is in their fields.
func TestPlainEventsAreEncodedAsPackageJSONDoes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	kindsOfIt, themselves, left := 0, 0, 0
	for _, kind := range kinds {
		if _, ok := kind.(plain); !ok {
			continue
		}
		kindsOfIt++
		for range 3000 {
			e := reflect.New(reflect.TypeOf(kind)).Elem()
			fillAtRandom(random, e)
			event := e.Interface().(Event)
			now := time.Unix(random.Int64N(1<<32), random.Int64N(1e9)).In(time.FixedZone("", 3600))
			var c encoder
			c.reset()
			if err := c.encode(now, event); err != nil {
				t.Fatal(err)
			}
			if want := byJSON(t, now, event); !bytes.Equal(c.bytes(), want) {
				t.Fatalf("got  %swant %s", c.bytes(), want)
			}
			var p plainFields
			if event.(plain).appendFields(&p); p.odd {
				left++
			} else {
				themselves++
			}
		}
	}
	if kindsOfIt != 4 || themselves < 1000 || left < 1000 {
		t.Errorf("%d kinds of events, %d that encoded themselves and %d that didn't, want 4, and enough of both", kindsOfIt, themselves, left)
	}
}

// byJSON is the line of an event by package json alone.
func byJSON(t *testing.T, now time.Time, e Event) []byte {
	t.Helper()
	var own bytes.Buffer
	j := json.NewEncoder(&own)
	j.SetEscapeHTML(false)
	if err := j.Encode(e); err != nil {
		t.Fatal(err)
	}
	fields := own.Bytes()[1:]
	if safe := escapeControls(fields[:len(fields)-1]); safe != nil {
		fields = append(safe, '\n')
	}
	return append([]byte(`{"time":"`+now.UTC().Format(timeLayout)+`","event":"`+e.EventName()+`",`), fields...)
}

// fillAtRandom gives the fields of an event values that are ordinary most of the time.
func fillAtRandom(random *rand.Rand, v reflect.Value) {
	one := func(of ...string) string { return of[random.IntN(len(of))] }
	switch v.Interface().(type) {
	case netip.AddrPort:
		var a netip.AddrPort
		if s := one("", "192.0.2.1:65535", "[2001:db8::1]:21", "[::ffff:192.0.2.1]:1", "[fe80::1%eth0]:22", `[fe80::1%e"\]:22`); s != "" {
			a = netip.MustParseAddrPort(s)
		}
		v.Set(reflect.ValueOf(a))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fillAtRandom(random, v.Field(i))
		}
	case reflect.String:
		s := one("", "17-4", "ftp.example.com:21", "sshd_config:12", "<a & b>", "it has ended", "it has ended", "~")
		if random.IntN(16) == 0 {
			s = one("é", `"`, `\`, "\x00", "\x1f", "\x7f", "\u202e", "\xff", "a\nb", "\u2028")
		}
		v.SetString(s)
	case reflect.Float64:
		v.SetFloat([]float64{0, 1, 0.25, 1e-6, 9e-7, 1e20, 1e21, -2, 12.000345, math.MaxFloat64}[random.IntN(10)])
	case reflect.Int, reflect.Int64:
		v.SetInt([]int64{0, 1, -1, 1 << 40, math.MaxInt64}[random.IntN(5)])
	default:
		panic(v.Kind()) // say here what a new kind of field may have in it
	}
}
