"""Tests of what of loadtests/locust_users/ knows nothing of Locust, which replaces sockets."""
