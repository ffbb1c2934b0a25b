"""The microservice chassis: what every service process needs and no service is about."""
