"""URLs of the site."""

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from jobs import webhooks
from pixsim import error_pages, home, looking, metrics, views

admin.site.site_title = admin.site.site_header = "PixSim"
admin.site.site_url = None  # "View site" would lead back to the admin

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index"), name="home"),
    path("favicon.ico", error_pages.favicon),
    path("admin/status/", admin.site.admin_view(views.status_page), name="status"),
    path(
        "admin/status/figures/", admin.site.admin_view(views.status_figures), name="status_figures"
    ),
    path("admin/tiers/", admin.site.admin_view(views.tiers_page), name="tiers"),
    path("admin/look/stop/", admin.site.admin_view(looking.stop), name="look_stop"),
    path("admin/look/<uuid:pk>/", admin.site.admin_view(looking.look), name="look"),
    path("admin/", admin.site.admin_view(home.page)),  # the name is the admin's own
    path("admin/home/figures/", admin.site.admin_view(home.figures), name="home_figures"),
    path("admin/home/retry/", admin.site.admin_view(home.retry), name="home_retry"),
    path("admin/login/", views.log_in),  # the name is the admin's own
    path("admin/", admin.site.urls),
    path("metrics", metrics.shown, name="metrics"),
    path("webhooks/<str:provider>/<str:reference>", webhooks.receive, name="webhook"),
]

handler500 = error_pages.server_error
