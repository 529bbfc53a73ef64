package stores

import (
	"context"
	"strings"
	"testing"
)

func TestWrongURLs(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"":                        "the URL is empty",
		"ftp://x/y":               "no store of this kind",
		"file://host/x":           `names the host "host"`,
		"s3://key:hidden@bucket":  "holds no credentials",
		"gs://key:hidden@bucket":  "holds no credentials",
		"s3://bucket?secret=x":    "unknown parameter",
		"azblob://container?no=1": "unknown query parameter",
	} {
		_, err := Open(context.Background(), url)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
}
