-- The Chinook music shop's tables for PostgreSQL under the names of its SQLite script.
CREATE TABLE "Artist" ("ArtistId" serial PRIMARY KEY, "Name" varchar(120));
CREATE TABLE "Album" (
  "AlbumId" serial PRIMARY KEY, "Title" varchar(160) NOT NULL, "ArtistId" integer NOT NULL REFERENCES "Artist");
CREATE TABLE "Employee" (
  "EmployeeId" serial PRIMARY KEY, "LastName" varchar(20) NOT NULL, "FirstName" varchar(20) NOT NULL, "Title" varchar(30),
  "ReportsTo" integer REFERENCES "Employee", "BirthDate" timestamp, "HireDate" timestamp, "Address" varchar(70), "City" varchar(40),
  "State" varchar(40), "Country" varchar(40), "PostalCode" varchar(10), "Phone" varchar(24), "Fax" varchar(24), "Email" varchar(60));
CREATE TABLE "Customer" (
  "CustomerId" serial PRIMARY KEY, "FirstName" varchar(40) NOT NULL, "LastName" varchar(20) NOT NULL, "Company" varchar(80),
  "Address" varchar(70), "City" varchar(40), "State" varchar(40), "Country" varchar(40), "PostalCode" varchar(10), "Phone" varchar(24),
  "Fax" varchar(24), "Email" varchar(60) NOT NULL, "SupportRepId" integer REFERENCES "Employee");
CREATE TABLE "Genre" ("GenreId" serial PRIMARY KEY, "Name" varchar(120));
CREATE TABLE "MediaType" ("MediaTypeId" serial PRIMARY KEY, "Name" varchar(120));
CREATE TABLE "Track" (
  "TrackId" serial PRIMARY KEY, "Name" varchar(200) NOT NULL, "AlbumId" integer REFERENCES "Album",
  "MediaTypeId" integer NOT NULL REFERENCES "MediaType", "GenreId" integer REFERENCES "Genre", "Composer" varchar(220),
  "Milliseconds" integer NOT NULL, "Bytes" integer, "UnitPrice" numeric(10,2) NOT NULL);
CREATE TABLE "Invoice" (
  "InvoiceId" serial PRIMARY KEY, "CustomerId" integer NOT NULL REFERENCES "Customer", "InvoiceDate" timestamp NOT NULL,
  "BillingAddress" varchar(70), "BillingCity" varchar(40), "BillingState" varchar(40), "BillingCountry" varchar(40),
  "BillingPostalCode" varchar(10), "Total" numeric(10,2) NOT NULL);
CREATE TABLE "InvoiceLine" (
  "InvoiceLineId" serial PRIMARY KEY, "InvoiceId" integer NOT NULL REFERENCES "Invoice", "TrackId" integer NOT NULL REFERENCES "Track",
  "UnitPrice" numeric(10,2) NOT NULL, "Quantity" integer NOT NULL);
CREATE TABLE "Playlist" ("PlaylistId" serial PRIMARY KEY, "Name" varchar(120));
CREATE TABLE "PlaylistTrack" (
  "PlaylistId" integer NOT NULL REFERENCES "Playlist", "TrackId" integer NOT NULL REFERENCES "Track",
  PRIMARY KEY ("PlaylistId", "TrackId"));
