"""What clients over HTTP rely on."""

from acceptance.test_ingress import *
